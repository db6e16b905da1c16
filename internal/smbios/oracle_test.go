package smbios_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	uroot "github.com/u-root/u-root/pkg/smbios"

	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/smbios"
)

// u-root's reader is independent of this one. On a healthy table the two must
// see the same machine.
func TestAgreesWithAnIndependentReader(t *testing.T) {
	files, err := fixture.Machine("../..", "baseline")
	require.NoError(t, err)
	entry, table := files["sys/firmware/dmi/tables/smbios_entry_point"], files["sys/firmware/dmi/tables/DMI"]
	want, err := uroot.ParseInfo(entry, table)
	require.NoError(t, err)
	got, err := smbios.Parse(entry, table)
	require.NoError(t, err)
	require.Empty(t, got.Problems)

	require.Len(t, got.Structures, len(want.Tables))
	system, err := want.GetSystemInfo()
	require.NoError(t, err)
	require.Equal(t, system.Manufacturer, got.Systems[0].Manufacturer)
	require.Equal(t, system.ProductName, got.Systems[0].Product)
	require.Equal(t, system.SerialNumber, got.Systems[0].Serial)
	require.Equal(t, system.UUID.String(), got.Systems[0].UUID)
	boards, err := want.GetBaseboardInfo()
	require.NoError(t, err)
	require.Len(t, got.Baseboards, len(boards))
	require.Equal(t, boards[0].SerialNumber, got.Baseboards[0].Serial)
	modules, err := want.GetMemoryDevices()
	require.NoError(t, err)
	require.Len(t, got.MemoryDevices, len(modules))
	for i, m := range modules {
		g := got.MemoryDevices[i]
		require.Equal(t, m.DeviceLocator, g.Locator)
		require.Equal(t, m.PartNumber, g.PartNumber)
		require.Equal(t, m.SerialNumber, g.Serial)
		if g.Installed {
			require.EqualValues(t, m.GetSizeBytes(), g.Size)
		}
	}
	processors, err := want.GetProcessorInfo()
	require.NoError(t, err)
	require.Len(t, got.Processors, len(processors))
	require.EqualValues(t, processors[0].ID, got.Processors[0].ID)
	slots, err := want.GetSystemSlots()
	require.NoError(t, err)
	require.Len(t, got.Slots, len(slots))
}
