//go:build linux

package main

import (
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/image/layout"
)

const planText = `alias pci:v00008086d*sv*sd*bc*sc*i* e1000e
alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage
alias pci:v*d*sv*sd*bc0Csc03i30* xhci_pci
always vfat
needs vfat fat
needs usb_storage scsi_mod
needs xhci_pci xhci_hcd usbcore
needs xhci_hcd usbcore
`

func plan(t *testing.T, text string) (*drivers, error) {
	t.Helper()
	return readPlan(fstest.MapFS{layout.ModulesPlan: {Data: []byte(text)}})
}

// A driver shows the devices behind it: the stick is there only when the driver
// of its controller is.
func TestDriversAreLoadedForTheDevicesThatAreThere(t *testing.T) {
	d, err := plan(t, planText)
	require.NoError(t, err)
	var order []string
	slept := time.Duration(0)
	present := func() []string {
		out := []string{"pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30"}
		for _, m := range order {
			if m == "xhci_pci" {
				out = append(out, "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00")
			}
		}
		return out
	}
	n := d.loadAll(present, func(m string) error {
		order = append(order, m)
		if m == "usbcore" {
			return errors.New("built in")
		}
		return nil
	}, func(s time.Duration) { slept += s })
	require.Equal(t, []string{"fat", "vfat", "usbcore", "xhci_hcd", "xhci_pci", "scsi_mod", "usb_storage"}, order, "what is needed comes first, each once")
	require.Equal(t, 6, n)
	require.LessOrEqual(t, slept, rounds*roundTime, "a machine that goes on showing devices does not keep the scanner")
}

func TestNoDriverForDevicesThatAreNotThere(t *testing.T) {
	d, err := plan(t, planText)
	require.NoError(t, err)
	require.Empty(t, d.wantedBy("pci:v000014E4d00001657sv*"))
	require.Equal(t, []string{"e1000e"}, d.wantedBy("pci:v00008086d000010D3sv000015D9sd00001533bc02sc00i00"))
}

func TestDriversThatNeedEachOther(t *testing.T) {
	d, err := plan(t, "always a\nneeds a b\nneeds b a\n")
	require.NoError(t, err)
	require.Equal(t, 2, d.loadAll(func() []string { return nil }, func(string) error { return nil }, func(time.Duration) {}))
}

func TestADamagedPlanIsAnError(t *testing.T) {
	for _, text := range []string{"", "always", "alias a", "needs a", "load a"} {
		_, err := plan(t, text)
		require.Error(t, err, "%q", text)
	}
	_, err := readPlan(fstest.MapFS{})
	require.ErrorContains(t, err, "plan of drivers")
}

func TestDevicesNameThemselves(t *testing.T) {
	root := fstest.MapFS{
		"sys/devices/pci0000:00/0000:00:01.0/modalias": {Data: []byte("pci:v1\n")},
		"sys/devices/platform/x/modalias":              {Data: []byte("platform:x\n")},
		"sys/devices/platform/x/uevent":                {Data: []byte("DRIVER=x\n")},
	}
	require.ElementsMatch(t, []string{"pci:v1", "platform:x"}, devices(root))
}
