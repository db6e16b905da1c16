package bom

import (
	"bytes"
	"fmt"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/fru"
	"github.com/assay-hw/assay/internal/pciconf"
	"github.com/assay-hw/assay/internal/smbios"
	"github.com/assay-hw/assay/internal/spd"
)

// ReadDump builds the inventory of one raw dump of a well-known tool: a table
// written by "dmidecode --dump-bin" or a bare SMBIOS table, a FRU image, an SPD
// image in binary or hexadecimal text, or the output of "lspci -xxxx"; and what
// dmidecode, lspci and lshw print for people (lshw also as JSON and XML). The
// error says that the bytes are none of these.
func ReadDump(name string, data []byte) (*Inventory, error) {
	if inv, err := readText(name, data); inv != nil || err != nil {
		return inv, err
	}
	files := dumpAsTree(data)
	if files == nil {
		return nil, &evidence.FormatError{File: name, Msg: "is no SMBIOS, FRU, SPD, dmidecode, lspci or lshw output that is known here"}
	}
	b, err := evidence.FromFiles(files, name, evidence.Limits{})
	if err != nil {
		return nil, err
	}
	return Read(b), nil
}

// dumpAsTree puts a dump where it would be in evidence.
func dumpAsTree(data []byte) map[string][]byte {
	if files := lspciAsTree(data); files != nil {
		return files
	}
	if f, err := fru.Parse(data); err == nil && f.HeaderOK && (f.Board != nil || f.Product != nil || f.Chassis != nil || len(f.Records) > 0) {
		return map[string][]byte{"ipmi/fru-0.bin": data}
	}
	if raw, err := spd.FromHex(data); err == nil {
		data = raw
	}
	if _, err := spd.Parse(data); err == nil {
		const dir = "sys/bus/i2c/devices/0-0050"
		return map[string][]byte{dir + "/name": []byte("spd\n"), dir + "/eeprom": data}
	}
	if t, err := smbios.ParseDump(data); err == nil && (t.EntryPoint != nil || len(t.Systems)+len(t.Baseboards)+len(t.MemoryDevices) > 0) {
		return smbiosAsTree(data, t)
	}
	return nil
}

// smbiosAsTree splits a dump file into entry point and table.
func smbiosAsTree(data []byte, t *smbios.Table) map[string][]byte {
	if t.EntryPoint == nil {
		return map[string][]byte{dmiTable: data}
	}
	start := min(uint64(len(data)), max(t.EntryPoint.TableAddress, uint64(t.EntryPoint.Length)))
	if start >= uint64(len(data)) {
		start = min(uint64(len(data)), 0x20)
	}
	return map[string][]byte{dmiEntry: data[:t.EntryPoint.Length], dmiTable: data[start:]}
}

func lspciAsTree(data []byte) map[string][]byte {
	if bytes.IndexByte(data, 0) >= 0 {
		return nil
	}
	dumps, _ := pciconf.ParseLspci(data)
	files := map[string][]byte{}
	for _, d := range dumps {
		if _, _, ok := pciAddress(d.Address); ok && len(d.Config) >= 64 {
			files[fmt.Sprintf("%s/%s/config", pciDevices, d.Address)] = d.Config
		}
	}
	if len(files) == 0 {
		return nil
	}
	return files
}
