package unpack_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/firmware"
)

func metainfo(image []byte) []byte {
	return fmt.Appendf(nil, `<component type="firmware"><id>com.example.board.firmware</id><provides><firmware type="flashed">AABBCCDD-0000-4000-8000-001122334455</firmware></provides>
<releases><release version="1.2.3" timestamp="1700000000"><checksum target="content" filename="firmware.bin" type="sha256">%x</checksum></release></releases></component>`, sha256.Sum256(image))
}

func catalogue(t *testing.T, image []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := fmt.Fprintf(w, `{"JcatVersionMajor":0,"JcatVersionMinor":1,"Items":[{"Id":"firmware.bin","AliasIds":[],"Blobs":[{"Kind":1,"Flags":1,"Data":"%x"},{"Kind":3,"Flags":1,"Data":"-----BEGIN PKCS7-----"}]}]}`, sha256.Sum256(image))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func fwupd(t *testing.T, image []byte) []byte {
	return cabinet(member{"firmware.bin", image}, member{"firmware.metainfo.xml", metainfo(image)}, member{"firmware.jcat", catalogue(t, image)})
}

func TestCabinetIsTakenApartDownToModules(t *testing.T) {
	m := parse(fwupd(t, managed(volume("one", "two"), signer(t, "Example Vendor"))))
	require.Empty(t, told(m))
	require.Len(t, m.Leaves, 1)
	require.Equal(t, "container", m.Leaves[0].Type)
	l := leaf(t, m, "image/firmware.bin/"+fileSystem+"/"+driverA)
	require.Equal(t, "DXE driver", l.Type)
	require.Equal(t, "com.example.board.firmware 1.2.3 for aabbccdd-0000-4000-8000-001122334455", leaf(t, m, "image/firmware.metainfo.xml").Name)
	require.Contains(t, string(leaf(t, m, "image/firmware.metainfo.xml/facts").Content()), "release 1.2.3 1700000000")
	require.Equal(t, "pkcs7 over firmware.bin, not checked", leaf(t, m, "image/firmware.jcat/firmware.bin/pkcs7").Name)
	require.Contains(t, leaf(t, m, "image/firmware.bin/capsule/payload:0/authentication").Name, "PKCS#7 by CN=Example Vendor (certificate sha256:")
	require.Contains(t, leaf(t, m, "image/firmware.bin/capsule/payload:0/authentication").Name, "holds; trust in the signer is not checked")
	require.Equal(t, "version 00000007, lowest supported 00000005", leaf(t, m, "image/firmware.bin/capsule/payload:0/version").Name)
	require.Contains(t, leaf(t, m, "image/firmware.bin/capsule/payload:0/header").Name, "image type AABBCCDD-0000-4000-8000-001122334455, index 1")
}

// One module differs, and nothing else is said to.
func TestOnePatchedModule(t *testing.T) {
	a, b := fwupd(t, volume("one", "two")), fwupd(t, volume("one", "twx"))
	got := firmware.Diff(parse(a), parse(b))
	var paths []string
	for _, c := range got {
		paths = append(paths, c.Change+" "+c.Path)
	}
	require.Equal(t, []string{"changed image/firmware.bin/" + fileSystem + "/" + driverB, "changed image/firmware.jcat", "changed image/firmware.metainfo.xml"}, paths,
		"what vouches for it has its digest")
	plain := func(v []byte) []byte { return cabinet(member{"firmware.bin", v}) }
	got = firmware.Diff(parse(plain(volume("one", "two"))), parse(plain(volume("one", "twx"))))
	require.Len(t, got, 1)
	require.Equal(t, "image/firmware.bin/"+fileSystem+"/"+driverB, got[0].Path)
}

func TestWhatVouchesForAFileHasToHold(t *testing.T) {
	image, other := volume("one", "two"), volume("one", "twx")
	m := parse(cabinet(member{"firmware.bin", other}, member{"firmware.metainfo.xml", metainfo(image)}))
	require.Equal(t, []string{"FW-009 firmware:update/image/firmware.bin"}, told(m))
	m = parse(cabinet(member{"firmware.bin", other}, member{"a.jcat", catalogue(t, image)}))
	require.Equal(t, []string{"FW-009 firmware:update/image/firmware.bin"}, told(m))
	m = parse(cabinet(member{"other.bin", other}, member{"a.jcat", catalogue(t, image)}))
	require.Equal(t, []string{"IN-002 firmware:update/image/a.jcat"}, told(m))
	m = parse(cabinet(member{"x.metainfo.xml", []byte("no XML")}))
	require.Equal(t, []string{"IN-002 firmware:update/image/x.metainfo.xml"}, told(m))
}

func TestSignatureInACapsule(t *testing.T) {
	sign := signer(t, "Example Vendor")
	good := managed(volume("one", "two"), sign)
	at := bytes.Index(good, []byte("two"))
	patched := slices.Clone(good)
	patched[at] = 'x'
	m := parse(patched)
	require.Equal(t, []string{"FW-009 firmware:update/capsule/payload:0/authentication"}, told(m))
	require.Equal(t, "PKCS#7, does not hold", leaf(t, m, "capsule/payload:0/authentication").Name)
	counter := slices.Clone(good)
	counter[28+16+48] ^= 1
	require.Equal(t, []string{"FW-009 firmware:update/capsule/payload:0/authentication"}, told(parse(counter)), "the counter is signed too")
	require.Equal(t, []string{"FW-009 firmware:update/capsule/payload:0/authentication"}, told(parse(managed(volume("a", "b"), func([]byte) []byte { return []byte("no signature") }))))
	without := firmware.Parse("update", good)
	require.Equal(t, "PKCS#7, not checked", leaf(t, without, "capsule/payload:0/authentication").Name)
	require.Empty(t, told(without))
}

// edk2's GenerateCapsule made the capsule, and openssl its signature.
func TestCapsuleOfEDK2(t *testing.T) {
	b, err := os.ReadFile("testdata/edk2-signed.cap")
	require.NoError(t, err)
	m := parse(b)
	require.Empty(t, told(m))
	require.Equal(t, "PKCS#7 by CN=Example Firmware Signing (certificate sha256:f1b087ed69491a55), holds; trust in the signer is not checked",
		leaf(t, m, "capsule/payload:0/authentication").Name)
	require.Equal(t, "version 00010203, lowest supported 00010000", leaf(t, m, "capsule/payload:0/version").Name)
	require.Equal(t, "image type AABBCCDD-0000-4000-8000-001122334455, index 1, hardware instance 5, with authentication", leaf(t, m, "capsule/payload:0/header").Name)
	leaf(t, m, fileSystem+"/"+driverB)
	b[len(b)-2000] ^= 1
	require.Equal(t, []string{"FW-009 firmware:update/capsule/payload:0/authentication"}, told(parse(b)))
}

// fwupd reads the same cabinet, and refuses the same one.
func TestFwupdAgrees(t *testing.T) {
	if _, err := exec.LookPath("fwupdtool"); err != nil {
		t.Skip("needs fwupdtool (Debian package fwupd)")
	}
	image := volume("one", "two")
	run := func(b []byte) string {
		p := filepath.Join(t.TempDir(), "x.cab")
		require.NoError(t, os.WriteFile(p, b, 0o644))
		out, _ := exec.Command("fwupdtool", "firmware-parse", p, "cabinet").CombinedOutput()
		return string(out)
	}
	require.Contains(t, run(fwupd(t, image)), "FuCabinet")
	wrong := cabinet(member{"firmware.bin", volume("one", "twx")}, member{"firmware.metainfo.xml", metainfo(image)})
	require.Contains(t, run(wrong), "contents checksum invalid")
	require.Equal(t, []string{"FW-009 firmware:update/image/firmware.bin"}, told(parse(wrong)))
}

func TestZip(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"BIOS/update.cap", "../../etc/readme.txt", "dir/"} {
		f, err := w.Create(name)
		require.NoError(t, err)
		if name[len(name)-1] != '/' {
			_, err = f.Write(capsule("3B6686BD-0D76-4030-B70E-B5519E2FC5A0", volume("one", "two")))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	m := parse(b.Bytes())
	require.Empty(t, told(m))
	leaf(t, m, "image/BIOS/update.cap/"+fileSystem+"/"+driverA)
	leaf(t, m, "image/etc/readme.txt")
	broken := slices.Clone(b.Bytes())
	broken[60] ^= 0xff
	require.Equal(t, []string{"IN-002 firmware:update/image/BIOS/update.cap"}, told(parse(broken)))
}

// descriptor is a flash with a map: the descriptor, then the host's firmware.
func descriptor(bios []byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 0x1000)
	copy(b[0x10:], "\x5a\xa5\xf0\x0f\x00\x00\x04\x00")
	for i := range 16 {
		copy(b[0x40+4*i:], []byte{0xff, 0x7f, 0, 0})
	}
	copy(b[0x40:], []byte{0, 0, 0, 0, 1, 0, byte(len(bios) / 0x1000), 0})
	return append(b, bios...)
}

func TestWholeFlashInAContainer(t *testing.T) {
	flash := descriptor(volume("one", "two"))
	for name, b := range map[string][]byte{
		"image/firmware.bin": cabinet(member{"firmware.bin", flash}),
		"capsule/payload:0":  capsule("14EEBB90-890A-43DB-AED1-5D3C4588A418", append([]byte{32, 0, 32, 0}, flash...)),
	} {
		m := parse(b)
		require.Empty(t, told(m), name)
		require.Equal(t, firmware.Header, leaf(t, m, name+"/region:descriptor").Kind)
		leaf(t, m, name+"/"+fileSystem+"/"+driverB)
	}
}

// What a vendor ships becomes a reference, whatever is around the image.
func TestReferenceFromAContainer(t *testing.T) {
	flash := descriptor(volume("one", "two"))
	aptio := capsule("14EEBB90-890A-43DB-AED1-5D3C4588A418", append([]byte{32, 0, 32, 0}, flash...))
	for name, b := range map[string][]byte{
		"flash": flash, "cabinet": cabinet(member{"firmware.bin", flash}), "capsule": aptio, "capsule in a cabinet": cabinet(member{"firmware.cap", aptio}),
		"cabinet in a cabinet": cabinet(member{"a.cab", cabinet(member{"firmware.bin", flash})}), "Dell": pfsVolume(pfsEntry(flash, nil)),
	} {
		r, m, err := firmware.VendorReference(firmware.VendorFile{Name: "bios", Image: parse(b)}, 0)
		require.NoError(t, err, name)
		require.EqualValues(t, len(flash), m.Size, name)
		require.False(t, r.Partial, name)
		require.Empty(t, firmware.Match([]firmware.Reference{r}, []*firmware.Image{firmware.Parse("bios", flash)}, nil).Findings, name)
	}
}

// Every format of a vendor is opened down to the modules.
func TestVendorsContainers(t *testing.T) {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, err := w.Write(pfsVolume(pfsEntry(volume("one", "two"), []byte("signature"))))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	program := slices.Concat([]byte("MZ"), make([]byte, 0x3a), []byte{0x40, 0, 0, 0}, []byte("PE\x00\x00program"))
	const entry = "00112233445566778899AABBCCDDEEFF"
	flash := descriptor(volume("one", "two"))
	for name, c := range map[string]struct {
		b    []byte
		path string
	}{
		"AMI BIOS Guard":               {pfatImage("1 0 1;bios.bin", pfatBlock(volume("one", "two"))), "image/bios.bin"},
		"AMI BIOS Guard, of two parts": {pfatImage("1 0 1;a.bin\n1 0 1;b.bin", pfatBlock(flash[:0x1400]), pfatBlock(flash[0x1400:])), "image/image"},
		"AMI UCP":                      {ucpFile("@ROM", volume("one", "two")), "image/@ROM"},
		"Dell":                         {pfsVolume(pfsEntry(volume("one", "two"), nil)), "image/" + entry},
		"Dell, nested":                 {pfsVolume(pfsEntry(pfsVolume(pfsEntry(volume("one", "two"), nil)), nil)), "image/" + entry + "/" + entry},
		"Dell, guarded":                {pfsVolume(guardedEntries(volume("one", "two"))), "image/image"},
		"Dell's program":               {slices.Concat(program, pfsSection(z.Bytes()), []byte("rest")), "image/firmware/" + entry},
		"Insyde's program":             {slices.Concat(program, iflashImage(volume("one", "two"))), "image/BIOSIMG"},
		"Phoenix's program":            {tdkProgram(program, volume("one", "two")), "image/bios.bin"},
		"AMI's program":                {slices.Concat(program, pfatImage("1 0 1;bios.bin", pfatBlock(volume("one", "two")))), "image/pfat/bios.bin"},
	} {
		t.Run(name, func(t *testing.T) {
			m := parse(c.b)
			require.Empty(t, told(m))
			require.Len(t, m.Leaves, 1)
			leaf(t, m, c.path+"/"+fileSystem+"/"+driverB)
			sum := sha256.Sum256(c.b)
			require.Equal(t, hex.EncodeToString(sum[:]), m.Leaves[0].SHA256, "the container itself is compared in any case")
		})
	}
}

// The stream is one that edk2's tools wrote.
func TestPackedModule(t *testing.T) {
	for _, name := range []string{"volume-tiano.bin", "volume-efi.bin"} {
		stream, err := os.ReadFile(filepath.Join("..", "testdata", name))
		require.NoError(t, err)
		m := parse(ucpPacked("@ROM", stream))
		require.Empty(t, told(m), name)
		l := leaf(t, m, "image/@ROM")
		require.EqualValues(t, binary.LittleEndian.Uint32(stream[4:]), l.Length)
		stream[20] ^= 0x55
		require.NotEmpty(t, told(parse(ucpPacked("@ROM", stream))), name)
	}
}

func TestInsydesPackerIsNamed(t *testing.T) {
	program := slices.Concat([]byte("MZ"), make([]byte, 0x3a), []byte{0x40, 0, 0, 0}, []byte("PE\x00\x00program\r\n;!@InstallEnd@!\r\n7z\xbc\xaf\x27secret"))
	require.Equal(t, []string{"FW-018 firmware:update/image/packed"}, told(parse(program)))
	require.Equal(t, []string{"FW-018 firmware:update/image"}, told(firmware.Parse("update", program)), "without a decoder it is said too")
}
