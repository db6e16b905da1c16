package amdfw

import "fmt"

// Types that are treated in a way of their own.
const (
	fuses         = 0x0b // a value
	savedTraining = 0x63
)

// pointerTypes are the types of entries that point at another directory.
func pointerTypes(bios bool) []byte {
	if bios {
		return []byte{0x70}
	}
	return []byte{0x40, 0x48, 0x49, 0x4a}
}

// Names of types by coreboot's amdfwtool and PSPTool, which agree on these.
var pspNames = [...]string{
	0x00: "AMD_PUBLIC_KEY", 0x01: "PSP_BOOTLOADER", 0x02: "PSP_SECURE_OS", 0x03: "PSP_RECOVERY_BOOTLOADER", 0x04: "PSP_NV_DATA",
	0x05: "BIOS_PUBLIC_KEY", 0x06: "BIOS_RTM_FIRMWARE", 0x07: "BIOS_RTM_SIGNATURE", 0x08: "SMU_FIRMWARE", 0x09: "SECURE_DEBUG_KEY",
	0x0a: "ABL_PUBLIC_KEY", 0x0b: "SOFT_FUSE_CHAIN", 0x0c: "PSP_TRUSTLETS", 0x0d: "PSP_TRUSTLET_KEY", 0x10: "PSP_AGESA_RESUME",
	0x12: "SMU_FIRMWARE_2", 0x13: "DEBUG_UNLOCK", 0x1a: "SEV_DRIVER", 0x1b: "BOOT_DRIVER", 0x1c: "SOC_DRIVER", 0x1d: "DEBUG_DRIVER",
	0x1f: "INTERFACE_DRIVER", 0x20: "HW_IP_CONFIG", 0x21: "WRAPPED_IKEK", 0x22: "TOKEN_UNLOCK", 0x24: "SECURITY_GASKET", 0x25: "MP2_FIRMWARE",
	0x28: "SYSTEM_DRIVER", 0x29: "KVM_IMAGE", 0x2a: "MP5_FIRMWARE", 0x2b: "EMBEDDED_FIRMWARE_STRUCTURE", 0x2c: "WRITE_ONCE_NVRAM", 0x2d: "S0I3_DRIVER",
	0x30: "ABL0", 0x31: "ABL1", 0x32: "ABL2", 0x33: "ABL3", 0x34: "ABL4", 0x35: "ABL5", 0x36: "ABL6", 0x37: "ABL7",
	0x38: "SEV_DATA", 0x39: "SEV_CODE", 0x3a: "PSP_WHITELIST", 0x3c: "VBIOS_PRELOAD", 0x40: "PSP_L2", 0x42: "DXIO_FIRMWARE", 0x44: "USB_PHY_FIRMWARE",
	0x45: "SECURITY_POLICY", 0x47: "DRTM_TA", 0x48: "PSP_L2_A", 0x49: "BIOS_L2", 0x4a: "PSP_L2_B", 0x4e: "PMU_PUBLIC_KEY", 0x4f: "UMC_FIRMWARE",
	0x50: "KEY_DATABASE_BOOTLOADER", 0x51: "KEY_DATABASE_SECURE_OS", 0x52: "OEM_PSP_APPLICATION", 0x53: "OEM_PSP_APPLICATION_KEY", 0x54: "RPMC_NVRAM",
	0x55: "ROLLBACK_SPL", 0x58: "DMCU_ERAM", 0x59: "DMCU_ISR", 0x5a: "MSMU_FIRMWARE", 0x5c: "SPI_ROM_CONFIG", 0x5d: "MPIO_FIRMWARE", 0x5f: "TPM_LITE",
	0x64: "RAS_DRIVER", 0x65: "RAS_TRUSTED_APPLICATION", 0x71: "DMCUB_FIRMWARE", 0x73: "PSP_BOOTLOADER_AB", 0x76: "REGISTER_INIT", 0x85: "AMF_SRAM", 0x86: "AMF_DRAM",
	0x88: "AMF_WLAN", 0x89: "AMF_MFD", 0x8c: "MPDMA_TF", 0x8d: "TA_IKEK", 0x90: "MPCCX_FIRMWARE", 0x91: "GMI3_PHY_FIRMWARE", 0x92: "MPDMA_PM", 0x94: "LSDMA_FIRMWARE",
	0x95: "C20_PHY_FIRMWARE", 0x98: "FEATURE_CONFIG_TABLE",
}

var biosNames = [...]string{
	0x05: "BIOS_PUBLIC_KEY", 0x07: "BIOS_SIGNATURE", 0x60: "APCB", 0x61: "APOB", 0x62: "BIOS", 0x63: "APOB_NV", 0x64: "PMU_CODE", 0x65: "PMU_DATA",
	0x66: "MICROCODE", 0x67: "MACHINE_CHECK_DATA", 0x68: "APCB_BACKUP", 0x69: "EARLY_VGA", 0x6a: "MP2_CONFIG", 0x6b: "PSP_SHARED_MEMORY",
	0x6d: "BIOS_NV_STORE", 0x70: "BIOS_L2",
}

// data lists what holds keys, settings and tables instead of code.
var data = [...]bool{
	0x00: true, 0x05: true, 0x07: true, 0x09: true, 0x0a: true, 0x0d: true, 0x0b: true, 0x20: true, 0x21: true, 0x22: true, 0x24: true, 0x2b: true, 0x2c: true,
	0x38: true, 0x3a: true, 0x45: true, 0x4e: true, 0x50: true, 0x51: true, 0x53: true, 0x55: true, 0x5c: true, 0x76: true, 0x8d: true, 0x98: true,
}

// describe names a type and says what it is for. What is written in operation
// is by coreboot's psp_rom_armor.md and amdfwtool: the store of the firmware TPM
// and of replay-protected counters, the saved training of the memory, and the
// range for variables. Settings of the board (APCB) may be written too when
// someone changes setup, and hold what is to be measured and locked: they are compared.
func describe(t byte, bios bool) (string, Kind) {
	names := pspNames[:]
	if bios {
		names = biosNames[:]
	}
	name := ""
	if int(t) < len(names) {
		name = names[t]
	}
	if name == "" {
		return fmt.Sprintf("type-%02x", t), Unknown
	}
	switch {
	case bios && (t == savedTraining || t == 0x6d), !bios && (t == 0x04 || t == 0x54):
		return name, Written
	case bios && (t == 0x60 || t == 0x61 || t == 0x65 || t == 0x67 || t == 0x68 || t == 0x6a || t == 0x6b), int(t) < len(data) && data[t]:
		return name, Data
	}
	return name, Code
}
