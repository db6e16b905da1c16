package assay_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest/redfish"
)

// controllerTells adds what a management controller lists: so many modules and
// processors, a version, and PCI devices.
func controllerTells(f files, modules, processors int, version string, devices ...string) files {
	return with(f, func(f files) {
		put := func(path, format string, args ...any) {
			f["redfish/10.0.0.7/redfish/v1"+path+"/index.json"] = fmt.Appendf(nil, format, args...)
		}
		put("/Systems/1", `{"@odata.id":"/redfish/v1/Systems/1","@odata.type":"#ComputerSystem.v1_20_0.ComputerSystem","Id":"1","Name":"System","Manufacturer":"Assay Lab Computer Inc.","Model":"SYS-6029LAB-TR","SerialNumber":"OTHER-NUMBER","BiosVersion":%q}`, version)
		for i := range modules {
			put(fmt.Sprintf("/Systems/1/Memory/%d", i), `{"@odata.id":"/redfish/v1/Systems/1/Memory/%d","@odata.type":"#Memory.v1_17_0.Memory","Id":"%d","Name":"DIMM","CapacityMiB":1024,"DeviceLocator":"DIMM%d","Status":{"State":"Enabled"}}`, i, i, i)
		}
		for i := range processors {
			put(fmt.Sprintf("/Systems/1/Processors/%d", i), `{"@odata.id":"/redfish/v1/Systems/1/Processors/%d","@odata.type":"#Processor.v1_18_0.Processor","Id":"%d","Name":"CPU","ProcessorType":"CPU","Model":"CPU","Socket":"CPU %d","Status":{"State":"Enabled"}}`, i, i, i)
		}
		for i, d := range devices {
			put(fmt.Sprintf("/Chassis/1/PCIeDevices/%d", i), `{"@odata.id":"/redfish/v1/Chassis/1/PCIeDevices/%d","@odata.type":"#PCIeDevice.v1_11_0.PCIeDevice","Id":"%d","Name":"Card"}`, i, i)
			put(fmt.Sprintf("/Chassis/1/PCIeDevices/%d/PCIeFunctions/0", i), `{"@odata.id":"/redfish/v1/Chassis/1/PCIeDevices/%d/PCIeFunctions/0","@odata.type":"#PCIeFunction.v1_5_0.PCIeFunction","Id":"0","Name":"Function","FunctionId":0,"VendorId":"0x%s","DeviceId":"0x%s"}`, i, d[:4], d[5:])
		}
	})
}

// The controller's list and the machine's are held against each other by what is
// there, since serial numbers and names are often only made up alike.
func TestControllerAndMachine(t *testing.T) {
	base := machine(t, "baseline")
	l := newLab(t, base)
	hidden := with(machine(t, "extra-nic-norom"), func(f files) {
		drop(f, pciBase+"0000:09:00.0/")
		drop(f, "sys/class/net/eth2/")
		f["proc/iomem"] = base["proc/iomem"]
	})
	for name, c := range map[string]struct {
		machine   files
		subjects  []string
		incidents []finding.Code
	}{
		"alike":                     {controllerTells(base, 4, 2, "3.2", "8086:10d3"), nil, nil},
		"lists nothing of a class":  {controllerTells(base, 0, 0, "3.2"), nil, nil},
		"a module failed":           {controllerTells(base, 3, 2, "3.2"), []string{"controller:memory"}, nil},
		"an update waits":           {controllerTells(base, 4, 2, "3.3"), []string{"controller:firmware"}, nil},
		"another machine's list":    {controllerTells(base, 8, 2, "4.0"), []string{"controller:firmware", "controller:memory"}, []finding.Code{finding.IncidentBMCUnderRug}},
		"the system hides a card":   {controllerTells(hidden, 4, 2, "3.2", "8086:10d3", "8086:10d3", "8086:10d3"), []string{"controller:pci:redfish /chassis/1/pciedevices/2/pciefunctions/0"}, []finding.Code{finding.IncidentCollectorUnderRug}},
		"the controller invents it": {controllerTells(base, 4, 2, "3.2", "1234:5678"), []string{"controller:pci:redfish /chassis/1/pciedevices/0/pciefunctions/0"}, nil},
		"no tree of resources":      {with(base, func(f files) { f["redfish/h/redfish/v1/index.json"] = []byte("{") }), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.appraise(t, c.machine, func(k *assay.Case) {
				if told, err := redfish.Inventory(k.Evidence, ""); err == nil {
					k.Controller = told
				}
			})
			var got []string
			for _, f := range find(r, finding.SourcesContradict) {
				got = append(got, f.Subject)
				require.LessOrEqual(t, f.Severity, finding.Medium)
			}
			require.ElementsMatch(t, c.subjects, got)
			var in []finding.Code
			for _, code := range incidentCodes(r) {
				if code == finding.IncidentBMCUnderRug || code == finding.IncidentCollectorUnderRug {
					in = append(in, code)
				}
			}
			require.Equal(t, c.incidents, in)
		})
	}
}
