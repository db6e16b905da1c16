package image

import (
	"bytes"
	"crypto"
	_ "crypto/sha1"
	_ "crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
	"unicode/utf16"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/authenticode"
	"github.com/assay-hw/assay/internal/gpt"
	"github.com/assay-hw/assay/internal/uki"
	"github.com/assay-hw/assay/manifest"
)

// registerEvents is what will be measured into one register.
type registerEvents struct {
	pcr    int
	order  string
	events []attest.EventReference
	note   string
}

// banks are the PCR banks whose digests are predicted.
var banks = []struct {
	name string
	hash crypto.Hash
}{{"sha1", crypto.SHA1}, {"sha256", crypto.SHA256}, {"sha384", crypto.SHA384}, {"sha512", crypto.SHA512}}

func digestsOf(of func(crypto.Hash) ([]byte, error)) (map[string][]string, error) {
	out := map[string][]string{}
	for _, b := range banks {
		d, err := of(b.hash)
		if err != nil {
			return nil, err
		}
		out[b.name] = []string{hex.EncodeToString(d)}
	}
	return out, nil
}

func plainDigests(data []byte) map[string][]string {
	d, _ := digestsOf(func(h crypto.Hash) ([]byte, error) {
		x := h.New()
		x.Write(data)
		return x.Sum(nil), nil
	})
	return d
}

// The stub's releases whose order of measured sections is known: .linux,
// .osrel, .cmdline, .initrd, each its name and then its contents.
const knownStub = 252

// predict computes the measurements of the image.
//   - PCR 4: the firmware measures each image that it loads by its Authenticode
//     digest (TCG PFP 1.06, 3.3.4.5): the UKI, then the kernel that the stub loads.
//   - PCR 5: the medium's partition table and the end of boot services.
//   - PCR 9: the kernel's stub measures its command line and initial file system
//     (Linux, drivers/firmware/efi/libstub/efi-stub-helper.c).
//   - PCR 11: systemd's stub measures the sections (UAPI, Linux TPM PCR Registry).
//   - PCR 12 and 13 stay as they were reset: nothing was added beside the image.
func (m *Image) predict(sections []uki.Section, kernel []byte, cmdline string, initrd []byte) ([]registerEvents, error) {
	image, err := digestsOf(func(h crypto.Hash) ([]byte, error) { return authenticode.Digest(m.UKI, h) })
	if err != nil {
		return nil, fmt.Errorf("measure the image: %w", err)
	}
	m.digest = image["sha256"][0]
	inner, err := digestsOf(func(h crypto.Hash) ([]byte, error) { return authenticode.Digest(kernel, h) })
	if err != nil {
		return nil, fmt.Errorf("measure the kernel: %w", err)
	}
	head, _, err := m.disk.Encode()
	if err != nil {
		return nil, err
	}
	table, err := gpt.Measured(head)
	if err != nil {
		return nil, err
	}
	const app = "EV_EFI_BOOT_SERVICES_APPLICATION"
	out := []registerEvents{
		{pcr: 4, events: []attest.EventReference{
			action("Calling EFI Application from Boot Option"), separator(),
			{Type: app, Digests: image, Label: "scanner image"},
			// With Secure Boot the stub vouches for the kernel inside it, and the
			// firmware, which then does not look at it, does not measure it either.
			{Type: app, Digests: inner, Label: "Linux " + m.Kernel, Optional: true},
		}},
		{pcr: 5, order: "any", events: []attest.EventReference{
			separator(),
			{Type: "EV_EFI_GPT_EVENT", Digests: plainDigests(table), Label: "GPT " + m.disk.Disk.String()},
			action("Exit Boot Services Invocation"), action("Exit Boot Services Returned with Success"),
		}},
		{pcr: 9, events: []attest.EventReference{
			{Type: "EV_EVENT_TAG", Digests: plainDigests(wide(cmdline)), Label: "LOADED_IMAGE::LoadOptions"},
			{Type: "EV_EVENT_TAG", Digests: plainDigests(initrd), Label: "Linux initrd"},
		}},
	}
	if m.Stub == knownStub {
		out = append(out, registerEvents{pcr: 11, events: sectionEvents(sections)})
	}
	for _, pcr := range []int{12, 13} {
		out = append(out, registerEvents{pcr: pcr, note: "nothing is measured here"})
	}
	return out, nil
}

func action(text string) attest.EventReference {
	return attest.EventReference{Type: "EV_EFI_ACTION", Digests: plainDigests([]byte(text)), Label: text, Optional: true}
}

func separator() attest.EventReference {
	return attest.EventReference{Type: "EV_SEPARATOR", Derived: "separator", Digests: plainDigests(make([]byte, 4)), Label: "separator"}
}

func sectionEvents(sections []uki.Section) []attest.EventReference {
	var out []attest.EventReference
	for _, name := range []string{".linux", ".osrel", ".cmdline", ".initrd"} {
		for _, s := range sections {
			if s.Name == name {
				out = append(out,
					attest.EventReference{Type: "EV_IPL", Digests: plainDigests(append([]byte(name), 0)), Label: name},
					attest.EventReference{Type: "EV_IPL", Digests: plainDigests(s.Data), Label: name})
			}
		}
	}
	return out
}

// wide is a text as UEFI passes it: UTF-16 with a final zero.
func wide(s string) []byte {
	var b bytes.Buffer
	for _, c := range append(utf16.Encode([]rune(s)), 0) {
		_ = binary.Write(&b, binary.LittleEndian, c)
	}
	return b.Bytes()
}

// References are what the machine's TPM will show after a boot from this
// image.
func (m *Image) References() []attest.Reference {
	var out []attest.Reference
	for _, r := range m.events {
		ref := attest.Reference{PCR: r.pcr, Events: r.events, Order: r.order, Note: r.note}
		if len(r.events) == 0 {
			ref.Digests = map[string][]string{}
			for _, b := range banks {
				ref.Digests[b.name] = []string{hex.EncodeToString(make([]byte, b.hash.Size()))}
			}
		}
		out = append(out, ref)
	}
	return out
}

// Digest names the image: the SHA-256 Authenticode digest of the UKI, which a
// signature for Secure Boot leaves as it is.
func (m *Image) Digest() string { return m.digest }

// Reference is the manifest that lets a verifier recognise a boot from this
// image, and the medium that it came from.
func (m *Image) Reference(now time.Time, validity time.Duration) *manifest.Manifest {
	at := now.UTC().Truncate(time.Second)
	return &manifest.Manifest{
		ID: layout.ScannerImage + "-" + m.Digest()[:16], Version: 1, IssuedAt: at, NotAfter: at.Add(validity),
		Environment: manifest.Environment{Manufacturer: manifest.AnyPlatform, Model: layout.ScannerImage, Revision: m.Version},
		Boot:        m.References(), Classes: map[bom.Class]bom.Closure{},
		Scanner: &manifest.Scanner{Image: m.Digest(), Disk: m.disk.Disk.String()},
	}
}
