"""Read and control a SPAN electrical panel from trio programs.

::

    async with open_span_panel("192.168.1.100", credentials=...) as panel:
        async for snapshot in panel.snapshots():
            print(snapshot.instant_grid_power_w)
"""

from .credentials import SpanCredentials
from .enums import (
    CommunicationState,
    DominantPowerSource,
    DoorState,
    DsmState,
    EvseStatus,
    ForecastConfidence,
    GridState,
    LimitEnablement,
    LockState,
    MidGridState,
    RelativePosition,
    RelayRequester,
    RelayState,
    RunConfig,
    ShedPriority,
    VendorCloud,
)
from .errors import (
    SpanPanelAPIError,
    SpanPanelAuthError,
    SpanPanelClosedError,
    SpanPanelConnectionError,
    SpanPanelError,
    SpanPanelInternalError,
    SpanPanelServerError,
    SpanPanelStaleDataError,
    SpanPanelTimeoutError,
    SpanPanelValidationError,
)
from .options import PanelOptions
from .panel import PanelStatistics, SpanPanel, fetch_snapshot, open_span_panel
from .rest import V2AuthResponse, V2StatusInfo, download_ca_cert, get_homie_schema, get_v2_status, register_v2
from .snapshot import (
    AdoptedDevice,
    AdoptedProperty,
    Change,
    ExtensionProperty,
    SpanBatterySnapshot,
    SpanCircuitSnapshot,
    SpanEvseSnapshot,
    SpanMidSnapshot,
    SpanPanelSnapshot,
    SpanPcsSnapshot,
    SpanPVSnapshot,
)
from .span import (
    HomieSchema,
    PhaseDistribution,
    are_tabs_opposite_phase,
    get_phase_distribution,
    get_tab_phase,
    suggest_balanced_pairing,
    validate_solar_tabs,
)
from .store import load_credentials, save_credentials

__all__ = [
    "AdoptedDevice",
    "AdoptedProperty",
    "Change",
    "CommunicationState",
    "DominantPowerSource",
    "DoorState",
    "DsmState",
    "EvseStatus",
    "ExtensionProperty",
    "ForecastConfidence",
    "GridState",
    "HomieSchema",
    "LimitEnablement",
    "LockState",
    "MidGridState",
    "PanelOptions",
    "PanelStatistics",
    "PhaseDistribution",
    "RelativePosition",
    "RelayRequester",
    "RelayState",
    "RunConfig",
    "ShedPriority",
    "SpanBatterySnapshot",
    "SpanCircuitSnapshot",
    "SpanCredentials",
    "SpanEvseSnapshot",
    "SpanMidSnapshot",
    "SpanPVSnapshot",
    "SpanPanel",
    "SpanPanelAPIError",
    "SpanPanelAuthError",
    "SpanPanelClosedError",
    "SpanPanelConnectionError",
    "SpanPanelError",
    "SpanPanelInternalError",
    "SpanPanelServerError",
    "SpanPanelSnapshot",
    "SpanPanelStaleDataError",
    "SpanPanelTimeoutError",
    "SpanPanelValidationError",
    "SpanPcsSnapshot",
    "V2AuthResponse",
    "V2StatusInfo",
    "VendorCloud",
    "are_tabs_opposite_phase",
    "download_ca_cert",
    "fetch_snapshot",
    "get_homie_schema",
    "get_phase_distribution",
    "get_tab_phase",
    "get_v2_status",
    "load_credentials",
    "open_span_panel",
    "register_v2",
    "save_credentials",
    "suggest_balanced_pairing",
    "validate_solar_tabs",
]
