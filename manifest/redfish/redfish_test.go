package redfish_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest/redfish"
)

func server(t testing.TB) *redfish.Tree {
	t.Helper()
	tree, err := redfish.Read("server", os.DirFS("testdata/server"))
	require.NoError(t, err)
	return tree
}

func TestParts(t *testing.T) {
	inv, lost, err := server(t).Inventory("")
	require.NoError(t, err)
	agreesWithItself(t, inv)
	part := func(subject string) bom.Part {
		p, ok := inv.Part(subject)
		require.True(t, ok, subject)
		return p
	}
	require.Equal(t, "S-1001", part("system").Identity.Serial)
	require.Equal(t, "1.7.4", part("firmware:bios").Identity.Firmware)
	dimm := part("dimm:PROC 1 DIMM 1")
	require.Equal(t, bom.Identity{Maker: "SK Hynix", MakerIDs: dimm.Identity.MakerIDs, Brand: dimm.Identity.Brand, PartNumber: "HMA82GR7CJR4N-XN", Serial: "438AD388"}, dimm.Identity, "iLO's number is the code with its bytes swapped, in decimal")
	require.NotEmpty(t, dimm.Identity.Brand)
	require.Equal(t, "16384", dimm.Attributes["sizeMiB"])
	fake := part("dimm:PROC 1 DIMM 3").Identity
	require.Empty(t, fake.Maker+fake.PartNumber+fake.Serial, "placeholders say nothing")
	nic := part("pci:0000:3b:00.0")
	require.Equal(t, "8086:1572 8086:0007", nic.Identity.Model)
	require.Equal(t, []string{"K12345-001", "N-1001", "8.15", "02", "Slot 3", "020000"}, []string{nic.Identity.PartNumber, nic.Identity.Serial, nic.Identity.Firmware, nic.Identity.Revision, nic.Location.Slot, nic.Attributes["classCode"]})
	require.Equal(t, "3c:ec:ef:00:00:01", part("network:3c:ec:ef:00:00:01").Identity.Serial)
	_, ok := inv.Part("network:3c:ec:ef:00:00:ff")
	require.False(t, ok, "the controller's own port is none of the host's")
	require.Equal(t, bom.LAN, part("lan:3c:ec:ef:00:00:ff").Class)
	require.Empty(t, part("lan:usb0").Identity.Serial, "an address that is another one at each start")
	require.Equal(t, "P-1001", part("power:PS1").Identity.Serial)
	require.Equal(t, "2.72", part("bmc").Identity.Firmware)
	require.Equal(t, "Bay 0", part("storage:disk 202728F691F5").Location.Designator)
	for class, o := range inv.Classes {
		require.False(t, o.Whole, "a controller proves no absence: %s", class)
	}
	text := fmt.Sprint(lost)
	for _, told := range []string{"Fan 1 Example Fans F-1", "Riser A", "firmware CPLD version 7"} {
		require.Contains(t, text, told)
	}
	require.NotContains(t, text, "firmware BIOS", "it is in the part")

	refs, closures, omitted := redfish.Draft(inv, false)
	require.NotEmpty(t, refs)
	require.NotContains(t, closures, bom.Closed)
	require.Contains(t, fmt.Sprint(omitted), "Example BMC")
	for _, r := range refs {
		require.Empty(t, r.Identity.Serial)
	}
}

// pack puts the tree into an archive.
func pack(t *testing.T, form string) []byte {
	t.Helper()
	var out bytes.Buffer
	files := map[string][]byte{}
	dir := os.DirFS("testdata/server")
	require.NoError(t, fs.WalkDir(dir, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files["mockup/"+p], err = fs.ReadFile(dir, p)
		}
		return err
	}))
	if form == "zip" {
		z := zip.NewWriter(&out)
		for name, b := range files {
			w, err := z.Create(name)
			require.NoError(t, err)
			_, _ = w.Write(b)
		}
		require.NoError(t, z.Close())
		return out.Bytes()
	}
	var w interface {
		Write([]byte) (int, error)
		Close() error
	} = gzip.NewWriter(&out)
	if form == "xz" {
		var err error
		w, err = xz.NewWriter(&out)
		require.NoError(t, err)
	}
	tw := tar.NewWriter(w)
	for name, b := range files {
		require.NoError(t, tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(b)), Mode: 0o644}))
		_, _ = tw.Write(b)
	}
	require.NoError(t, tw.Close())
	require.NoError(t, w.Close())
	return out.Bytes()
}

func TestArchives(t *testing.T) {
	want, _, err := server(t).Inventory("")
	require.NoError(t, err)
	for _, form := range []string{"zip", "gz", "xz"} {
		tree, err := redfish.ReadFile("mockup."+form, pack(t, form))
		require.NoError(t, err, form)
		got, _, err := tree.Inventory("1")
		require.NoError(t, err, form)
		require.Equal(t, counts(want), counts(got), form)
	}
}

func tree(t *testing.T, files map[string]string) (*redfish.Tree, error) {
	t.Helper()
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return redfish.Read("tree", m)
}

func system(id, more string) string {
	return fmt.Sprintf(`{"@odata.id":"/redfish/v1/Systems/%s","@odata.type":"#ComputerSystem.v1_0_0.ComputerSystem","Id":"%s","Model":"M%s"%s}`, id, id, id, more)
}

func drive(path string) string {
	return fmt.Sprintf(`{"@odata.id":"/redfish/v1%s","@odata.type":"#Drive.v1_0_0.Drive","Id":"d","Model":"%s"}`, path, path)
}

// Of several systems each has its own parts, whichever way links lead.
func TestSeveralSystems(t *testing.T) {
	tr, err := tree(t, map[string]string{
		"a.json":       system("a", `,"Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/a/"}]}`),
		"b.json":       system("b", `,"Links":{"Chassis":[{"@odata.id":"/redfish/v1/Chassis/b"}]}`),
		"chassisA":     `not read: no JSON by its name`,
		"ca.json":      `{"@odata.id":"/redfish/v1/chassis/A","@odata.type":"#Chassis.v1_0_0.Chassis","Model":"CA","Links":{"ContainedBy":{"@odata.id":"/redfish/v1/Chassis/rack"},"ComputerSystems":[{"@odata.id":"/redfish/v1/Systems/a"}],"Drives":[{"@odata.id":"/redfish/v1/Drives/a"}],"Outside":[{"@odata.id":"https://example.net/redfish/v1/Drives/x"},{"@odata.id":"/redfish/v1/../../etc/passwd"}]}}`,
		"cb.json":      `{"@odata.id":"/redfish/v1/Chassis/b","@odata.type":"#Chassis.v1_0_0.Chassis","Model":"CB","Links":{"Drives":[{"@odata.id":"/redfish/v1/Drives/b"}]}}`,
		"rack.json":    `{"@odata.id":"/redfish/v1/Chassis/rack","@odata.type":"#Chassis.v1_0_0.Chassis","Model":"RACK","Links":{"Contains":[{"@odata.id":"/redfish/v1/Chassis/A"},{"@odata.id":"/redfish/v1/Chassis/b"}]}}`,
		"da.json":      drive("/Drives/a"),
		"db.json":      drive("/Drives/b"),
		"deeper/c.txt": "",
	})
	require.NoError(t, err)
	_, _, err = tr.Inventory("")
	var ambiguous *redfish.AmbiguousError
	require.True(t, errors.As(err, &ambiguous))
	require.Equal(t, []string{"a", "b"}, ambiguous.Systems)
	inv, _, err := tr.Inventory("a")
	require.NoError(t, err)
	require.Equal(t, map[bom.Class]int{bom.System: 1, bom.Chassis: 1, bom.Storage: 1}, counts(inv))
	require.Equal(t, "/Drives/a", inv.ByClass(bom.Storage)[0].Identity.Model)
	_, _, err = tr.Inventory("c")
	require.ErrorContains(t, err, "there are: a, b")
}

// iLO tells a function twice: in its own list with the address, and in the
// standard's with the numbers of the card, in decimal. It is one part.
func TestAFunctionThatIsToldTwice(t *testing.T) {
	tr, err := tree(t, map[string]string{
		"hpe.json":   `{"@odata.id":"/redfish/v1/Systems/1/PCIDevices/3","@odata.type":"#HpeServerPciDevice.v2_0_0.HpeServerPciDevice","Name":"NIC","BusNumber":134,"DeviceNumber":0,"FunctionNumber":0,"SegmentNumber":0,"VendorID":4215,"DeviceID":32880,"SubsystemVendorID":4215,"SubsystemDeviceID":116,"DeviceLocation":"PCI-E Slot 1"}`,
		"empty.json": `{"@odata.id":"/redfish/v1/Systems/1/PCIDevices/4","@odata.type":"#HpeServerPciDevice.v2_0_0.HpeServerPciDevice","Name":"Empty slot 2","VendorID":65535,"DeviceID":65535}`,
		"card.json":  `{"@odata.id":"/redfish/v1/Chassis/1/PCIeDevices/138","@odata.type":"#PCIeDevice.v1_5_0.PCIeDevice","PartNumber":"AH2010406-3","SerialNumber":"REE1950F79864"}`,
		"f.json":     `{"@odata.id":"/redfish/v1/Chassis/1/PCIeDevices/138/PCIeFunctions/1","@odata.type":"#PCIeFunction.v1_2_3.PCIeFunction","VendorId":"4215","DeviceId":"32880","SubsystemVendorId":"4215","SubsystemId":"116","RevisionId":"08.50.78"}`,
	})
	require.NoError(t, err)
	inv, lost, err := tr.Inventory("")
	require.NoError(t, err)
	require.Len(t, inv.Parts, 1)
	p := inv.Parts[0]
	require.Equal(t, []string{"pci:0000:86:00.0", "1077:8070 1077:0074", "AH2010406-3", "REE1950F79864", "PCI-E Slot 1"}, []string{p.Subject, p.Identity.Model, p.Identity.PartNumber, p.Identity.Serial, p.Location.Slot})
	require.Empty(t, p.Identity.Revision, "that is a version of firmware")
	require.Equal(t, []redfish.Loss{{Where: "tree", What: "1 of type HpeServerPciDevice that are empty places"}}, lost)
}

func TestCyclesEnd(t *testing.T) {
	link := func(to string) string { return fmt.Sprintf(`,"Links":{"Chassis":[{"@odata.id":"%s"}]}`, to) }
	tr, err := tree(t, map[string]string{
		"a.json": system("a", link("/redfish/v1/Chassis/1")), "b.json": system("b", ""),
		"1.json": `{"@odata.id":"/redfish/v1/Chassis/1","@odata.type":"#Chassis.v1.Chassis","Model":"1","Links":{"Contains":[{"@odata.id":"/redfish/v1/Chassis/2"}]}}`,
		"2.json": `{"@odata.id":"/redfish/v1/Chassis/2","@odata.type":"#Chassis.v1.Chassis","Model":"2","Links":{"Contains":[{"@odata.id":"/redfish/v1/Chassis/1"},{"@odata.id":"/redfish/v1/Chassis/2"}]}}`,
	})
	require.NoError(t, err)
	inv, _, err := tr.Inventory("a")
	require.NoError(t, err)
	require.Equal(t, 2, counts(inv)[bom.Chassis])
}

func TestHostileTrees(t *testing.T) {
	deep := `{"@odata.id":"/redfish/v1/x","a":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`
	for name, in := range map[string]string{
		"deep nesting": deep, "no JSON": "{\"@odata.id\"", "an array": `[{"@odata.id":"/x"}]`, "nothing": "", "no resource": `{"a":1}`,
		"too long": `{"@odata.id":"` + strings.Repeat("x", 5<<20) + `"}`,
	} {
		_, err := redfish.ReadFile("in.json", []byte(in))
		require.ErrorIs(t, err, redfish.ErrNotTree, name)
		require.ErrorContains(t, err, "in.json", name)
	}
	// One file that is none does not hide the others, and is told.
	tr, err := tree(t, map[string]string{"a.json": system("a", ""), "deep.json": deep})
	require.NoError(t, err)
	_, lost, err := tr.Inventory("")
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(lost), "deep.json: not read")
}

func TestArchiveBombs(t *testing.T) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	tw := tar.NewWriter(z)
	block := make([]byte, 1<<20)
	require.NoError(t, tw.WriteHeader(&tar.Header{Name: "x.bin", Size: 300 << 20, Mode: 0o644}))
	for range 300 {
		_, err := tw.Write(block)
		require.NoError(t, err)
	}
	require.NoError(t, tw.Close())
	require.NoError(t, z.Close())
	_, err := redfish.ReadFile("bomb.tar.gz", out.Bytes())
	require.ErrorContains(t, err, "bomb.tar.gz: offset 268435456: the archive expands to more than")
}

// A huge array in one resource is bounded by the size of the resource.
func TestHugeArray(t *testing.T) {
	in := `{"@odata.id":"/redfish/v1/Systems/1","@odata.type":"#ComputerSystem.v1.ComputerSystem","Model":"x","TrustedModules":[` + strings.Repeat(`{"InterfaceType":"TPM2_0"},`, 100_000) + `{}]}`
	tr, err := redfish.ReadFile("in.json", []byte(in))
	require.NoError(t, err)
	inv, _, err := tr.Inventory("")
	require.NoError(t, err)
	require.Len(t, inv.ByClass(bom.TPM), 100_000)
}

func FuzzReadFile(f *testing.F) {
	require.NoError(f, fs.WalkDir(os.DirFS("testdata"), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, readErr := os.ReadFile("testdata/" + p)
			require.NoError(f, readErr)
			f.Add(b)
		}
		return err
	}))
	f.Add([]byte("PK\x03\x04"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		tree, err := redfish.ReadFile("fuzz", in)
		if err != nil {
			require.ErrorContains(t, err, "fuzz")
			return
		}
		for _, s := range append(tree.Systems(), "") {
			inv, _, err := tree.Inventory(s)
			if err != nil {
				continue
			}
			seen := map[string]bool{}
			for _, p := range inv.Parts {
				require.False(t, seen[p.Subject], p.Subject)
				seen[p.Subject] = true
			}
			redfish.Draft(inv, true)
		}
	})
}

// What is drafted of a tree fits the tree that it was drafted of, for one machine
// and for the model: what is left out of a line leaves none that fits nothing.
func TestDraftFitsItsTree(t *testing.T) {
	for _, instances := range []bool{true, false} {
		inv, _, err := server(t).Inventory("")
		require.NoError(t, err)
		refs, closures, _ := redfish.Draft(inv, instances)
		for _, f := range bom.Match(refs, closures, inv).Findings {
			require.Equal(t, finding.Info, f.Severity, "%s %s", f.Code, f.Subject)
		}
	}
}
