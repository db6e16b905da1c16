package tcglog

import "fmt"

// EventType is the type field of an event. It is not covered by any digest: an
// attacker who edits a log may retype an event at will.
type EventType uint32

// Event types (TCG PC Client Platform Firmware Profile 1.06, 10.4.1).
const (
	PrebootCert            EventType = 0x00
	PostCode               EventType = 0x01
	Unused                 EventType = 0x02
	NoAction               EventType = 0x03
	Separator              EventType = 0x04
	Action                 EventType = 0x05
	EventTag               EventType = 0x06
	SCRTMContents          EventType = 0x07
	SCRTMVersion           EventType = 0x08
	CPUMicrocode           EventType = 0x09
	PlatformConfigFlags    EventType = 0x0a
	TableOfDevices         EventType = 0x0b
	CompactHash            EventType = 0x0c
	IPL                    EventType = 0x0d
	IPLPartitionData       EventType = 0x0e
	NonhostCode            EventType = 0x0f
	NonhostConfig          EventType = 0x10
	NonhostInfo            EventType = 0x11
	OmitBootDeviceEvents   EventType = 0x12
	PostCode2              EventType = 0x13
	EFIVariableDriver      EventType = 0x80000001
	EFIVariableBoot        EventType = 0x80000002
	EFIBootServicesApp     EventType = 0x80000003
	EFIBootServicesDriver  EventType = 0x80000004
	EFIRuntimeDriver       EventType = 0x80000005
	EFIGPT                 EventType = 0x80000006
	EFIAction              EventType = 0x80000007
	EFIFirmwareBlob        EventType = 0x80000008
	EFIHandoffTables       EventType = 0x80000009
	EFIFirmwareBlob2       EventType = 0x8000000a
	EFIHandoffTables2      EventType = 0x8000000b
	EFIVariableBoot2       EventType = 0x8000000c
	EFIGPT2                EventType = 0x8000000d
	EFIHCRTM               EventType = 0x80000010
	EFIVariableAuthority   EventType = 0x800000e0
	EFISPDMFirmwareBlob    EventType = 0x800000e1
	EFISPDMFirmwareConfig  EventType = 0x800000e2
	EFISPDMDevicePolicy    EventType = 0x800000e3
	EFISPDMDeviceAuthority EventType = 0x800000e4
)

var typeNames = map[EventType]string{
	PrebootCert: "EV_PREBOOT_CERT", PostCode: "EV_POST_CODE", Unused: "EV_UNUSED", NoAction: "EV_NO_ACTION",
	Separator: "EV_SEPARATOR", Action: "EV_ACTION", EventTag: "EV_EVENT_TAG", SCRTMContents: "EV_S_CRTM_CONTENTS",
	SCRTMVersion: "EV_S_CRTM_VERSION", CPUMicrocode: "EV_CPU_MICROCODE", PlatformConfigFlags: "EV_PLATFORM_CONFIG_FLAGS",
	TableOfDevices: "EV_TABLE_OF_DEVICES", CompactHash: "EV_COMPACT_HASH", IPL: "EV_IPL", IPLPartitionData: "EV_IPL_PARTITION_DATA",
	NonhostCode: "EV_NONHOST_CODE", NonhostConfig: "EV_NONHOST_CONFIG", NonhostInfo: "EV_NONHOST_INFO",
	OmitBootDeviceEvents: "EV_OMIT_BOOT_DEVICE_EVENTS", PostCode2: "EV_POST_CODE2",
	EFIVariableDriver: "EV_EFI_VARIABLE_DRIVER_CONFIG", EFIVariableBoot: "EV_EFI_VARIABLE_BOOT",
	EFIBootServicesApp: "EV_EFI_BOOT_SERVICES_APPLICATION", EFIBootServicesDriver: "EV_EFI_BOOT_SERVICES_DRIVER",
	EFIRuntimeDriver: "EV_EFI_RUNTIME_SERVICES_DRIVER", EFIGPT: "EV_EFI_GPT_EVENT", EFIAction: "EV_EFI_ACTION",
	EFIFirmwareBlob: "EV_EFI_PLATFORM_FIRMWARE_BLOB", EFIHandoffTables: "EV_EFI_HANDOFF_TABLES",
	EFIFirmwareBlob2: "EV_EFI_PLATFORM_FIRMWARE_BLOB2", EFIHandoffTables2: "EV_EFI_HANDOFF_TABLES2",
	EFIVariableBoot2: "EV_EFI_VARIABLE_BOOT2", EFIGPT2: "EV_EFI_GPT_EVENT2", EFIHCRTM: "EV_EFI_HCRTM_EVENT",
	EFIVariableAuthority: "EV_EFI_VARIABLE_AUTHORITY", EFISPDMFirmwareBlob: "EV_EFI_SPDM_FIRMWARE_BLOB",
	EFISPDMFirmwareConfig: "EV_EFI_SPDM_FIRMWARE_CONFIG", EFISPDMDevicePolicy: "EV_EFI_SPDM_DEVICE_POLICY",
	EFISPDMDeviceAuthority: "EV_EFI_SPDM_DEVICE_AUTHORITY",
}

// String returns the TCG name, or the number of a type that has none.
func (t EventType) String() string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return fmt.Sprintf("0x%08x", uint32(t))
}

// Known reports whether the type is one of the profile's.
func (t EventType) Known() bool {
	_, ok := typeNames[t]
	return ok
}

// TypeNamed returns the type with a TCG name, or with a number in the form
// that String writes.
func TypeNamed(name string) (EventType, bool) {
	for t, n := range typeNames {
		if n == name {
			return t, true
		}
	}
	var v uint32
	if n, err := fmt.Sscanf(name, "0x%08x", &v); err == nil && n == 1 {
		return EventType(v), true
	}
	return 0, false
}
