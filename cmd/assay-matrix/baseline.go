package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-attestation/attest"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/smbios"
	"github.com/assay-hw/assay/internal/tcglog"
)

// other is a simpler way to compare a machine with its good state. It gets the
// same evidence, firmware bytes included, and says only that something is wrong.
type other struct {
	name, what string
	alarms     func(before, after map[string][]byte, nonce []byte) bool
}

func others() []other {
	return []other{
		{"PCR 0-7", "the values of registers 0 to 7 in the SHA-256 bank, compared exactly", registersDiffer},
		{"inventory text", "what `lspci -nn` and `dmidecode` show of identities, as text, compared line by line", inventoryDiffers},
		{"flash hash", "SHA-256 of each firmware image", imagesDiffer},
		{"go-attestation", "github.com/google/go-attestation 0.6.1: signature of the quote, nonce, and replay of the log against the quoted registers, with the reference machine's attestation key", attestationFails},
		{"HIRS rule", "the rule of NSA's HIRS as read at commit 925cc507, re-stated and not its code: each declared component is somewhere on the device, by a set of identities; each event digest is somewhere in the reference set", hirsFails},
	}
}

// compare runs the simpler ways over all vectors that can be run: by file, which
// of them raise an alarm.
func compare(root string, vectors []*efficacy.Vector) (map[string][]bool, error) {
	bench, err := efficacy.NewBench(root)
	if err != nil {
		return nil, err
	}
	out := map[string][]bool{}
	for _, v := range vectors {
		before, after, nonce, err := bench.Evidence(v)
		if errors.Is(err, efficacy.ErrNotHere) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.File, err)
		}
		for _, o := range others() {
			out[v.File] = append(out[v.File], o.alarms(before, after, nonce))
		}
	}
	return out, nil
}

func registers(files map[string][]byte) map[int]string {
	var banks map[string]map[int]string
	if json.Unmarshal(files["tpm/pcrs.json"], &banks) != nil {
		return nil
	}
	out := map[int]string{}
	for n, v := range banks["sha256"] {
		if n < 8 {
			out[n] = v
		}
	}
	return out
}

func registersDiffer(before, after map[string][]byte, _ []byte) bool {
	return !maps.Equal(registers(before), registers(after))
}

// inventory is one line for each function on PCI and each text of SMBIOS.
func inventory(files map[string][]byte) []string {
	var out []string
	const dir = "sys/bus/pci/devices/"
	for p := range files {
		if bdf, ok := strings.CutSuffix(strings.TrimPrefix(p, dir), "/vendor"); ok && strings.HasPrefix(p, dir) {
			l := bdf
			for _, a := range []string{"class", "vendor", "device", "subsystem_vendor", "subsystem_device", "revision"} {
				l += " " + strings.TrimSpace(string(files[dir+bdf+"/"+a]))
			}
			out = append(out, l)
		}
	}
	slices.Sort(out)
	if t, err := smbios.Parse(files["sys/firmware/dmi/tables/smbios_entry_point"], files["sys/firmware/dmi/tables/DMI"]); err == nil {
		for _, d := range t.MemoryDevices {
			out = append(out, fmt.Sprint(d.Locator, d.Manufacturer, d.PartNumber, d.Serial, d.Size, d.Speed))
		}
		for _, d := range t.Systems {
			out = append(out, fmt.Sprint(d.Manufacturer, d.Product, d.Version, d.Serial, d.UUID))
		}
		for _, d := range t.Baseboards {
			out = append(out, fmt.Sprint(d.Manufacturer, d.Product, d.Version, d.Serial))
		}
		for _, d := range t.BIOS {
			out = append(out, fmt.Sprint(d.Vendor, d.Version, d.ReleaseDate))
		}
		for _, d := range t.Processors {
			out = append(out, fmt.Sprint(d.Manufacturer, d.Version, d.Serial))
		}
	}
	return out
}

func inventoryDiffers(before, after map[string][]byte, _ []byte) bool {
	return !slices.Equal(inventory(before), inventory(after))
}

func imagesDiffer(before, after map[string][]byte, _ []byte) bool {
	sums := func(files map[string][]byte) map[string][32]byte {
		out := map[string][32]byte{}
		for p, b := range files {
			if strings.HasPrefix(p, "firmware/") && strings.HasSuffix(p, ".rom") {
				out[p] = sha256.Sum256(b)
			}
		}
		return out
	}
	return !maps.Equal(sums(before), sums(after))
}

const logAt = "sys/kernel/security/tpm0/binary_bios_measurements"

// attestationFails is how the library's own documentation uses it. A machine that
// has no quote in its good state is one that it says nothing about.
func attestationFails(before, after map[string][]byte, nonce []byte) bool {
	return attested(before, before, nonce) == nil && attested(before, after, nonce) != nil
}

func attested(enrolled, files map[string][]byte, nonce []byte) error {
	ak := enrolled["tpm/ak.pub"]
	if len(ak) < 2 {
		return errors.New("no key")
	}
	key, err := attest.ParseAKPublic(ak[2:]) // without the size of TPM2B_PUBLIC
	if err != nil {
		return err
	}
	var banks map[string]map[int]string
	if err := json.Unmarshal(files["tpm/pcrs.json"], &banks); err != nil {
		return err
	}
	var pcrs []attest.PCR
	for n, v := range banks["sha256"] {
		d, err := hex.DecodeString(v)
		if err != nil {
			return err
		}
		pcrs = append(pcrs, attest.PCR{Index: n, Digest: d, DigestAlg: crypto.SHA256})
	}
	if err := key.Verify(attest.Quote{Quote: files["tpm/quote-sha256.attest"], Signature: files["tpm/quote-sha256.sig"]}, pcrs, nonce); err != nil {
		return err
	}
	log, err := attest.ParseEventLog(files[logAt])
	if err != nil {
		return err
	}
	_, err = log.Verify(pcrs)
	return err
}

// hirsFails re-states the rule: what is on the device alone is not looked at, one
// part stands for any number of its kind, order and register of events do not
// count, and a log that cannot be read is none.
func hirsFails(before, after map[string][]byte, nonce []byte) bool {
	has := identities(after)
	for id := range identities(before) {
		if !has[id] {
			return true
		}
	}
	known := map[string]bool{}
	for _, d := range eventDigests(before) {
		known[d] = true
	}
	if slices.ContainsFunc(eventDigests(after), func(d string) bool { return !known[d] }) {
		return true
	}
	quote := after["tpm/quote-sha256.attest"]
	return len(quote) > 0 && !bytes.Contains(quote, nonce)
}

func identities(files map[string][]byte) map[string]bool {
	out := map[string]bool{}
	b, err := evidence.FromFiles(files, "machine", evidence.Limits{})
	if err != nil {
		return out
	}
	for _, p := range bom.Read(b).Parts {
		switch p.Class {
		case bom.ACPI, bom.USB, bom.I2C, bom.Firmware: // not in its lists
		default:
			out[fmt.Sprint(p.Class, p.Identity.Maker, p.Identity.Model, p.Identity.PartNumber, p.Identity.Revision, p.Identity.Serial)] = true
		}
	}
	return out
}

func eventDigests(files map[string][]byte) []string {
	l, err := tcglog.Parse(files[logAt], tcglog.DefaultLimits())
	if err != nil {
		return nil
	}
	var out []string
	for i := range l.Events {
		if e := &l.Events[i]; e.Measured() {
			for _, d := range e.Digests {
				out = append(out, hex.EncodeToString(d.Value))
			}
		}
	}
	return out
}
