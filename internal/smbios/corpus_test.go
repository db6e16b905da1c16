package smbios

import (
	"archive/zip"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Raw tables of real machines from three collections: every one is read to its
// end, and no structure is lost.
func TestRealTables(t *testing.T) {
	root := corpus(t, "hardware", "smbios-bin")
	read := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".md") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		table, err := ParseDump(b)
		require.NoError(t, err, path)
		if last := table.Structures[len(table.Structures)-1]; last.Type != 127 {
			require.NotEmpty(t, table.Problems, "%s: a table without an end is reported", path)
		}
		require.NotEmpty(t, table.Systems, path)
		require.Equal(t, filepath.Base(path) == "HyperV.dmi", table.Broken, "%s: one firmware writes structures without type and length", path)
		for _, p := range table.Problems {
			t.Logf("%s: 0x%x: %s", filepath.Base(path), p.Offset, p.What)
		}
		read++
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, read, 15)
}

// expected is the part of the JSON beside the tables that both decoders read.
type expected struct {
	BIOSInformation   struct{ Vendor, Version, ReleaseDate string }
	SystemInformation struct {
		Manufacturer, ProductName, Version, SerialNumber, UUID, SKUNumber, Family string
	}
	BaseboardInformation struct{ Manufacturer, Product, Version, SerialNumber string }
	ProcessorInformation []struct {
		SocketDesignation, ProcessorManufacturer, ProcessorVersion string
		MaxSpeed, CurrentSpeed                                     uint16
		CoreCount, CoreEnabled, ThreadCount                        int
	}
	PortConnectorInformation []struct{ InternalReferenceDesignator, ExternalReferenceDesignator string }
	SystemSlots              []struct{ SlotDesignation string }
	MemoryDevices            []struct {
		DeviceLocator, BankLocator, Manufacturer, SerialNumber, PartNumber string
		Size                                                               uint64
		MemoryType                                                         uint8
	}
}

// Another decoder's reading of the same bytes.
func TestSecondReaderAgrees(t *testing.T) {
	root := corpus(t, "hardware", "smbios-bin", "siderolabs")
	files, err := filepath.Glob(filepath.Join(root, "*.json"))
	require.NoError(t, err)
	compared := 0
	for _, file := range files {
		b, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".dmi")
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var want expected
		require.NoError(t, json.Unmarshal(raw, &want))
		table, err := ParseDump(b)
		require.NoError(t, err)
		t.Run(filepath.Base(file), func(t *testing.T) { compare(t, want, table) })
		compared++
	}
	require.Positive(t, compared)
}

// texts compares what the other decoder kept: it trims, and empties fillers.
func texts(t *testing.T, want, got []string) {
	t.Helper()
	for i, w := range want {
		if w != "" {
			require.Equal(t, w, strings.TrimSpace(got[i]))
		}
	}
}

func compare(t *testing.T, want expected, got *Table) {
	bios, system, board := got.BIOS[0], got.Systems[0], got.Baseboards[0]
	texts(t, []string{want.BIOSInformation.Vendor, want.BIOSInformation.Version, want.BIOSInformation.ReleaseDate},
		[]string{bios.Vendor, bios.Version, bios.ReleaseDate})
	w := want.SystemInformation
	texts(t, []string{w.Manufacturer, w.ProductName, w.Version, w.SerialNumber, w.SKUNumber, w.Family},
		[]string{system.Manufacturer, system.Product, system.Version, system.Serial, system.SKU, system.Family})
	if major, minor := got.Version(); major > 2 || minor >= 6 { // the other reader takes every table for 3.3
		require.Equal(t, w.UUID, system.UUID)
	}
	wb := want.BaseboardInformation
	texts(t, []string{wb.Manufacturer, wb.Product, wb.Version, wb.SerialNumber},
		[]string{board.Manufacturer, board.Product, board.Version, board.Serial})
	if n := len(want.ProcessorInformation); n > 0 {
		require.Len(t, got.Processors, n)
	}
	for i, p := range want.ProcessorInformation {
		g := got.Processors[i]
		texts(t, []string{p.SocketDesignation, p.ProcessorManufacturer, p.ProcessorVersion}, []string{g.Socket, g.Manufacturer, g.Version})
		require.Equal(t, []int{p.CoreCount, p.CoreEnabled, p.ThreadCount}, []int{g.Cores, g.EnabledCores, g.Threads})
		require.Equal(t, []uint16{p.MaxSpeed, p.CurrentSpeed}, []uint16{g.MaxSpeed, g.CurrentSpeed})
	}
	for i, c := range want.PortConnectorInformation {
		texts(t, []string{c.InternalReferenceDesignator, c.ExternalReferenceDesignator}, []string{got.Connectors[i].Internal, got.Connectors[i].External})
	}
	for i, s := range want.SystemSlots {
		texts(t, []string{s.SlotDesignation}, []string{got.Slots[i].Designation})
	}
	require.GreaterOrEqual(t, len(got.MemoryDevices), len(want.MemoryDevices))
	for i, m := range want.MemoryDevices {
		g := got.MemoryDevices[i]
		texts(t, []string{m.DeviceLocator, m.BankLocator, m.Manufacturer, m.SerialNumber, m.PartNumber},
			[]string{g.Locator, g.Bank, g.Manufacturer, g.Serial, g.PartNumber})
		require.Equal(t, m.MemoryType, g.MemoryType)
		if m.Size < 0x7fff {
			require.Equal(t, m.Size<<20, g.Size)
		}
	}
}

// Tables of captured machines: they come without an entry point.
func TestCapturedMachines(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(corpus(t, "machines"), "*.zip"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		z, err := zip.OpenReader(file)
		require.NoError(t, err)
		defer z.Close()
		b, err := fs.ReadFile(z, "sys/firmware/dmi/tables/DMI")
		require.NoError(t, err, file)
		table, err := Parse(nil, b)
		require.NoError(t, err, file)
		require.Empty(t, table.Problems, file)
		require.NotEmpty(t, table.Systems[0].UUID, file)
		require.NotEmpty(t, table.MemoryDevices, file)
	}
}
