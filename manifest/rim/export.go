package rim

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/internal/xmldsig"
	"github.com/assay-hw/assay/internal/xmltree"
	"github.com/assay-hw/assay/manifest"
)

// Options say what a manifest does not, and who signs.
type Options struct {
	Key   crypto.Signer
	Chain []*x509.Certificate // leaf first

	File                 string // stem of the names of the support RIMs; default "platform"
	RegID                string // of the creator, a URI of its organisation
	ManufacturerID       string // IANA private enterprise number of the platform's maker
	FirmwareManufacturer string
	FirmwareModel        string
}

// Exported is a base RIM with the support RIMs that it binds, by file name.
type Exported struct {
	Base     []byte
	Supports map[string][]byte
}

// ErrUnsupported says that a manifest has no form as a RIM.
var ErrUnsupported = errors.New("no form as a RIM")

// Export writes a manifest as a signed base RIM with an event log of what is
// expected in each register, and a list of registers where the manifest has
// values. What a RIM has no place for is returned.
func Export(m *manifest.Manifest, o Options) (*Exported, []Loss, error) {
	if m.Delta != nil || m.Environment.Manufacturer == manifest.AnyPlatform {
		return nil, nil, fmt.Errorf("%w: a change, or a statement about any platform", ErrUnsupported)
	}
	e := &exporter{manifest: m, options: o}
	o.File = cmp.Or(o.File, "platform")
	if strings.ContainsAny(o.File, `/\`) {
		return nil, nil, fmt.Errorf("%w: the name %q holds a path", ErrUnsupported, o.File)
	}
	out := &Exported{Supports: map[string][]byte{}}
	if log := e.log(); log != nil {
		out.Supports[o.File+".rimel"] = log
	}
	if pcrs := e.registers(); pcrs != nil {
		out.Supports[o.File+".rimpcr"] = pcrs
	}
	if len(out.Supports) == 0 {
		return nil, nil, fmt.Errorf("%w: the manifest expects nothing in any register", ErrUnsupported)
	}
	e.rest()
	signed, err := xmldsig.Sign(e.tag(out.Supports), o.Key, o.Chain, xmlLimits())
	if err != nil {
		return nil, nil, fmt.Errorf("rim: sign: %w", err)
	}
	out.Base = signed
	slices.SortStableFunc(e.losses, func(a, b Loss) int {
		return strings.Compare(a.Where+"\x00"+a.What, b.Where+"\x00"+b.What)
	})
	return out, slices.Compact(e.losses), nil
}

type exporter struct {
	manifest *manifest.Manifest
	options  Options
	losses   []Loss
}

func (e *exporter) lose(subject, format string, args ...any) {
	e.losses = append(e.losses, Loss{Where: subject, What: fmt.Sprintf(format, args...)})
}

// tag writes the SWID tag without a signature, in canonical form.
func (e *exporter) tag(files map[string][]byte) []byte {
	m, o := e.manifest, e.options
	var b strings.Builder
	tag := func(name string, attrs ...string) {
		b.WriteString("<" + name)
		for i := 0; i < len(attrs); i += 2 {
			if attrs[i+1] != "" {
				fmt.Fprintf(&b, ` %s="%s"`, attrs[i], xmltree.EscapeValue(attrs[i+1]))
			}
		}
		b.WriteString(">")
	}
	tag("SoftwareIdentity", "xmlns", swidShort, "corpus", "false", "name", m.Environment.Manufacturer+" "+m.Environment.Model, "patch", "false", "supplemental", "false",
		"tagId", strings.TrimPrefix(m.ID, "rim:"), "tagVersion", fmt.Sprint(m.Version), "version", fmt.Sprint(m.Version), "versionScheme", "decimal", "xml:lang", "en")
	tag("Entity", "name", m.Environment.Manufacturer, "regid", cmp.Or(o.RegID, "http://invalid.unavailable"), "role", "softwareCreator tagCreator")
	b.WriteString("</Entity>")
	version := ""
	for _, f := range m.Firmware {
		if f.Name == "bios" {
			version = f.Version
		}
	}
	tag("Meta", "xmlns:n8060", nistSpace, "xmlns:rim", rimSpaces+"wp-content/uploads/TCG_RIM_Model",
		"n8060:colloquialVersion", fmt.Sprint(m.Version), "n8060:edition", fmt.Sprint(m.Version), "n8060:product", m.Environment.Model, "n8060:revision", fmt.Sprint(m.Version),
		"rim:PayloadType", "direct", "rim:bindingSpec", "PC Client RIM", "rim:bindingSpecVersion", "1.2",
		"rim:firmwareManufacturerStr", o.FirmwareManufacturer, "rim:firmwareModel", o.FirmwareModel, "rim:firmwareVersion", version,
		"rim:platformManufacturerId", o.ManufacturerID, "rim:platformManufacturerStr", m.Environment.Manufacturer,
		"rim:platformModel", m.Environment.Model, "rim:platformVersion", m.Environment.Revision)
	b.WriteString("</Meta><Payload>")
	tag("Directory", "name", "rim")
	for _, name := range slices.Sorted(maps.Keys(files)) {
		a, c := sha256.Sum256(files[name]), sha512.Sum384(files[name])
		format := "TCG_EventLog_Assertion"
		if strings.HasSuffix(name, ".rimpcr") {
			format = "TPM_PCR_Assertion"
		}
		tag("File", "xmlns:SHA256", "http://www.w3.org/2001/04/xmlenc#sha256", "xmlns:SHA384", "http://www.w3.org/2001/04/xmldsig-more#sha384",
			"xmlns:rim", rimSpaces+"wp-content/uploads/TCG_RIM_Model", "SHA256:hash", hex.EncodeToString(a[:]), "SHA384:hash", hex.EncodeToString(c[:]),
			"name", name, "rim:supportRIMFormat", format, "size", fmt.Sprint(len(files[name])))
		b.WriteString("</File>")
	}
	b.WriteString("</Directory></Payload></SoftwareIdentity>")
	return []byte(b.String())
}

// registers writes the values of registers as tpm2-tools print them.
func (e *exporter) registers() []byte {
	byBank := map[string]map[int]string{}
	for _, r := range e.manifest.Boot {
		for bank, values := range r.Digests {
			switch {
			case bankNames[bank] == 0:
				e.lose(fmt.Sprintf("pcr:%d", r.PCR), "the value in bank %s", bank)
			case len(values) != 1:
				e.lose(fmt.Sprintf("pcr:%d", r.PCR), "%d allowed values in bank %s: a list has one", len(values), bank)
			default:
				if byBank[bank] == nil {
					byBank[bank] = map[int]string{}
				}
				byBank[bank][r.PCR] = values[0]
			}
		}
	}
	var b strings.Builder
	for _, bank := range slices.Sorted(maps.Keys(byBank)) {
		b.WriteString(bank + ":\n")
		for _, pcr := range slices.Sorted(maps.Keys(byBank[bank])) {
			fmt.Fprintf(&b, "  %-2d: 0x%s\n", pcr, strings.ToUpper(byBank[bank][pcr]))
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return []byte(b.String())
}

// rest tells what of the manifest has no place in a RIM.
func (e *exporter) rest() {
	m := e.manifest
	count := func(subject string, n int, what string) {
		if n > 0 {
			e.lose(subject, "%d %s", n, what)
		}
	}
	count("components", len(m.Components), "parts")
	count("classes", len(m.Classes), "closures")
	count("spdm", len(m.SPDM), "measurements of devices")
	count("endorsements", len(m.Endorsements), "keys and certificates")
	count("known", len(m.Known), "accepted contradictions")
	count("supersedes", len(m.Supersedes), "older ids")
	count("authority", len(m.Authority), "grants")
	for _, f := range m.Firmware {
		if f.Name != "bios" || f.SHA256 != "" || len(f.Digests)+len(f.Leaves)+len(f.Protection) > 0 || f.MinVersion != "" {
			e.lose("firmware:"+f.Name, "digests, parts and locks: a RIM has the version of the firmware")
		}
	}
	if m.Environment.Serial != "" || m.Environment.Virtual != "" {
		e.lose("environment", "serial number and hypervisor: a RIM is about a model")
	}
	if !strings.HasPrefix(m.ID, "rim:") {
		e.lose("id", "that it is %s: read back it begins with rim:", m.ID)
	}
	if m.Scanner != nil {
		e.lose("scanner", "the description of a scanner")
	}
	e.lose("times", "issuedAt and notAfter: a RIM has neither")
}

// commonBanks are the banks in which every event has a digest.
func commonBanks(refs []attest.Reference) []string {
	seen, events := map[string]int{}, 0
	for _, r := range refs {
		for _, ev := range r.Events {
			events++
			for bank, v := range ev.Digests {
				if len(v) > 0 && bankNames[bank] > 0 {
					seen[bank]++
				}
			}
		}
	}
	var out []string
	for bank, n := range seen {
		if n == events {
			out = append(out, bank)
		}
	}
	slices.Sort(out)
	return out
}
