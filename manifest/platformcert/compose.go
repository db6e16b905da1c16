package platformcert

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/tcgclass"
	"github.com/assay-hw/assay/internal/x500"
	"github.com/assay-hw/assay/manifest"
)

// Options say what kind of certificate FromManifest makes, and what a manifest
// does not hold.
type Options struct {
	Profile  string              // "1.1" or "2.1" (default)
	Form     Form                // default: attribute certificate
	EK       *ekcert.Certificate // whose TPM it is about; needed for an attribute certificate
	Serial   *big.Int            // default: random
	Specs    []uint8             // platform specification: major, minor, revision and four bytes of class; nil: not told
	Subject  []byte              // of a public-key certificate: DER of the name; empty: none
	Key      crypto.PublicKey    // of a public-key certificate
	Previous []*Certificate      // the base and its deltas so far: a delta, or a rebase, to them is made
	Rebase   bool
}

// maxField is the length of a text in the profiles (STRMAX).
const maxField = 256

// FromManifest makes a platform certificate of a manifest, not signed yet, and
// lists what of the manifest it cannot say. With Previous, only what differs from
// them is in it.
func FromManifest(m *manifest.Manifest, opt Options) (*Certificate, []Loss, error) {
	opt.Profile, opt.Form = cmp.Or(opt.Profile, "2.1"), cmp.Or(opt.Form, AttributeForm)
	w := &composer{dropped: map[bom.Class]bool{}, m: m, opt: opt, c: &Certificate{Form: opt.Form, Kind: Base, Profile: opt.Profile, verbatim: map[string][]byte{}}}
	if len(opt.Previous) > 0 {
		w.c.Kind = DeltaKind
		if opt.Rebase {
			w.c.Kind = Rebase
		}
	}
	if err := w.check(); err != nil {
		return nil, nil, err
	}
	w.frame()
	for i := range m.Components {
		w.line(fmt.Sprintf("components[%d]", i), &m.Components[i])
	}
	w.properties()
	w.unsaid()
	if err := w.differences(); err != nil {
		return nil, nil, err
	}
	w.write()
	return w.c, w.lost, nil
}

type composer struct {
	m          *manifest.Manifest
	opt        Options
	c          *Certificate
	components []Component
	props      []Property
	lost       []Loss
	dropped    map[bom.Class]bool // classes of which parts were left out
}

func (w *composer) lose(path, value, why string) {
	w.lost = append(w.lost, Loss{Where: path, Value: value, What: why})
}

func (w *composer) check() error {
	o := w.opt
	switch {
	case o.Profile != "1.1" && o.Profile != "2.1":
		return fmt.Errorf("profile %q is not written, 1.1 and 2.1 are", o.Profile)
	case o.Form == PublicKeyForm && o.Profile == "1.1":
		return errors.New("profile 1.1 has no public-key certificates")
	case o.Form == PublicKeyForm && o.Key == nil:
		return errors.New("a public-key certificate needs a key")
	case o.Form == AttributeForm && o.EK == nil && len(o.Previous) == 0:
		return errors.New("an attribute certificate needs the endorsement key certificate of its holder")
	case w.m.NotAfter.IsZero():
		return errors.New("notAfter is missing, and certificates end")
	case o.Specs != nil && len(o.Specs) != 7:
		return errors.New("a platform specification has major, minor, revision and four bytes of class")
	case o.Rebase && len(o.Previous) == 0:
		return errors.New("a rebase follows other certificates")
	case w.m.Environment.Manufacturer == manifest.AnyPlatform:
		return errors.New("the manifest is about any platform, a certificate is about one")
	}
	for _, s := range []string{w.m.Environment.Manufacturer, w.m.Environment.Model} {
		if s == "" || len(s) > maxField || !utf8.ValidString(s) {
			return fmt.Errorf("the platform is called %q, which a certificate cannot say", clip(s))
		}
	}
	return nil
}

// frame fills the fields around the lists.
func (w *composer) frame() {
	c, e := w.c, w.m.Environment
	c.NotBefore, c.NotAfter = w.m.IssuedAt.UTC().Truncate(time.Second), w.m.NotAfter.UTC().Truncate(time.Second)
	c.Serial = w.opt.Serial
	if c.Serial == nil {
		b := make([]byte, 16)
		_, _ = rand.Read(b) // never fails
		b[0] = b[0]&0x7f | 0x40
		c.Serial = new(big.Int).SetBytes(b)
	}
	c.Platform = Platform{Manufacturer: e.Manufacturer, Model: e.Model, Version: w.text("environment.revision", e.Revision), Serial: w.text("environment.serial", e.Serial)}
	if n := len(w.opt.Previous); n > 0 {
		base := w.opt.Previous[0]
		c.Holder = base.Holder
		if w.opt.Profile == "1.1" {
			c.Holder = Holder{Identifier: base.name(false)}
		}
		c.NotAfter = base.NotAfter
		if w.opt.Profile == "2.1" {
			for _, p := range w.opt.Previous {
				category := map[Kind]string{Base: categoryPlatformCert, DeltaKind: categoryDelta, Rebase: categoryRebase}[p.Kind]
				c.Previous = append(c.Previous, identifierTrait(category, p.name(true)))
			}
		}
	}
	if ek := w.opt.EK; ek != nil {
		id := Identifier{Issuer: ek.Issuer, Serial: ek.Serial}
		if n := len(w.opt.Previous); n == 0 && w.opt.Form == AttributeForm {
			c.Holder = Holder{Identifier: id}
		}
		if w.opt.Profile == "2.1" && c.Kind != DeltaKind {
			sum, err := digestOf(oidSHA256, ek.Signature())
			if err == nil {
				id.Algorithm, id.Digest = oidSHA256, sum
			}
			c.Anchors = []Trait{identifierTrait(categoryEK, id)}
		}
	}
}

// name identifies a certificate by issuer and serial number, and by the digest
// of its signature.
func (c *Certificate) name(digest bool) Identifier {
	id := Identifier{Issuer: c.Issuer, Serial: c.Serial}
	if sum, err := digestOf(oidSHA256, c.signature); err == nil && digest {
		id.Algorithm, id.Digest = oidSHA256, sum
	}
	return id
}

// text is a text that fits a field, or nothing.
func (w *composer) text(path, s string) string {
	if len(s) > maxField || !utf8.ValidString(s) {
		w.lose(path, s, fmt.Sprintf("is longer than the %d bytes of a field, or no text", maxField))
		return ""
	}
	return s
}

// line makes components of one line.
func (w *composer) line(path string, r *bom.Reference) {
	registry, class, ok := classOf(r.Class)
	if !ok {
		w.lose(path, cmp.Or(r.ID, bom.Describe(r.Identity)), "no registry of components has the class "+string(r.Class))
		w.dropped[r.Class] = true
		return
	}
	c := Component{Registry: registry, Class: class}
	id := r.Identity
	take := func(field string, v *string) string {
		s := w.text(path+".identity."+field, *v)
		*v = ""
		return s
	}
	if r.Class == bom.PCI {
		if !w.function(path, r, &id, &c) {
			return
		}
	} else {
		c.Maker, c.Model = take("maker", &id.Maker), take("model", &id.Model)
		c.Serial = take("serial", &id.Serial)
		w.byClass(path, r.Class, &id, &c, take)
	}
	if w.opt.Profile == "2.1" {
		if r.Class != bom.PCI && c.PartNumber == "" {
			c.PartNumber = take("partNumber", &id.PartNumber)
		}
		c.Location = w.text(path+".location.designator", r.Location.Designator)
	} else if r.Location.Designator != "" {
		w.lose(path+".location.designator", r.Location.Designator, "profile 1.1 has no places")
	}
	w.leftIdentity(path, r, id)
	w.leftLine(path, r)
	n := max(1, r.Quantity)
	if n > 1 && c.Serial != "" {
		w.lose(path+".quantity", strconv.Itoa(n), "parts with a serial number are one each")
		n = 1
	}
	if len(w.components)+n > maxComponents {
		w.lose(path, r.ID, fmt.Sprintf("a certificate has at most %d components", maxComponents))
		return
	}
	for range n {
		w.components = append(w.components, c)
	}
}

// byClass fills what model and revision mean in a class. What it takes it
// empties, so that the rest is known to be lost.
func (w *composer) byClass(path string, class bom.Class, id *bom.Identity, c *Component, take func(string, *string) string) {
	switch class {
	case bom.Memory:
		if c.Model != "" {
			w.lose(path+".identity.model", c.Model, "of a memory module the part number is the model")
		}
		c.Model = take("partNumber", &id.PartNumber)
	case bom.Storage, bom.Firmware:
		c.Revision = take("firmware", &id.Firmware)
		if class == bom.Firmware && c.Model == "" {
			w.lose(path+".identity.model", "", "a certificate's firmware without model is a machine's BIOS")
		}
	case bom.Network:
		if mac := plainMAC(c.Serial); len(mac) == 12 && strings.Trim(mac, "0123456789ABCDEF") == "" {
			c.Addresses = []Address{{Kind: addressEthernet, Text: mac}}
			c.Serial = ""
			if c.Model != portModel && (c.Model != "" || c.Maker != "") {
				w.lose(path+".identity.model", c.Model, "a port does not tell its model")
				w.lose(path+".identity.maker", c.Maker, "a port does not tell its maker")
			}
		}
		return
	default:
		c.Revision = take("revision", &id.Revision)
	}
	// Readers take such a model for SMBIOS' number of a family or chassis type.
	if numberOnly.MatchString(c.Model) && (class == bom.Chassis || class == bom.Processor && hasLetters.MatchString(c.Revision)) {
		w.lose(path+".identity.model", c.Model, "up to four hexadecimal digits read as the number of a type, not as a model")
		c.Model = ""
	}
}

// function writes a PCI function with the names of its registry.
func (w *composer) function(path string, r *bom.Reference, id *bom.Identity, c *Component) bool {
	var v, d, sv, sd uint16
	if _, err := fmt.Sscanf(id.Model, "%04x:%04x %04x:%04x", &v, &d, &sv, &sd); err != nil || fmt.Sprintf("%04x:%04x %04x:%04x", v, d, sv, sd) != id.Model {
		w.lose(path, cmp.Or(r.ID, id.Model), "a PCI function without ids has no name in the registry")
		return false
	}
	class, err := strconv.ParseUint(cmp.Or(r.Attributes["classCode"], "0"), 16, 24)
	if err != nil {
		class = 0
	}
	if code := r.Attributes["classCode"]; code != fmt.Sprintf("%06x", class) {
		w.lose(path+".attributes.classCode", code, "a class code is six hexadecimal digits; 000000 is written")
	}
	p := tcgclass.PCI{
		Class: uint32(class), Vendor: fmt.Sprintf("%04X", v), Device: fmt.Sprintf("%04X", d), SubVendor: fmt.Sprintf("%04X", sv), Sub: fmt.Sprintf("%04X", sd),
		Revision: strings.ToUpper(w.text(path+".identity.revision", id.Revision)), VPDPart: w.text(path+".identity.partNumber", id.PartNumber),
	}
	if p.Revision != "" && strings.ToLower(p.Revision) != id.Revision {
		w.lose(path+".identity.revision", id.Revision, "a revision is lower-case hexadecimal")
	}
	serial := w.text(path+".identity.serial", id.Serial)
	if eui, ok := strings.CutPrefix(serial, "dsn:"); ok && len(eui) == 16 && strings.Trim(eui, "0123456789abcdef") == "" {
		p.EUI64 = strings.ToUpper(eui)
	} else {
		p.VPDSerial = serial
	}
	f := p.Fields()
	c.Class, c.Maker, c.Model, c.Serial, c.Revision = f.Class, f.Maker, f.Model, f.Serial, f.Revision
	if id.Maker != "" && id.Maker != makerOf(v) {
		w.lose(path+".identity.maker", id.Maker, "a function's maker is the registered name of its vendor id")
	}
	id.MakerIDs = slices.DeleteFunc(slices.Clone(id.MakerIDs), func(s string) bool { return s == fmt.Sprintf("pci:%04x", v) })
	id.Maker, id.Model, id.Revision, id.PartNumber, id.Serial = "", "", "", "", ""
	return true
}

// leftIdentity lists what of an identity was not taken.
func (w *composer) leftIdentity(path string, r *bom.Reference, id bom.Identity) {
	for _, f := range []struct{ name, value string }{
		{"brand", id.Brand}, {"name", id.Name}, {"partNumber", id.PartNumber}, {"revision", id.Revision}, {"firmware", id.Firmware},
	} {
		if f.value != "" {
			w.lose(path+".identity."+f.name, f.value, "has no place in a component of class "+string(r.Class))
		}
	}
	if len(id.MakerIDs) > 0 {
		w.lose(path+".identity.makerIds", strings.Join(id.MakerIDs, " "), "registered numbers of makers are not written")
	}
}

// leftLine lists what a line says beside what the part is.
func (w *composer) leftLine(path string, r *bom.Reference) {
	lost := func(field, value, why string) {
		if value != "" {
			w.lose(path+"."+field, value, why)
		}
	}
	const policy = "a certificate says what is there, not how it is compared"
	lost("id", r.ID, "components have no names")
	lost("subject", r.Subject, "components have no names")
	lost("location.slot", r.Location.Slot, "a component has one place, the designator")
	lost("location.path", r.Location.Path, "a component has one place, the designator")
	lost("level", r.Level, policy)
	lost("verifiability", r.Verifiability, policy)
	lost("note", r.Note, policy)
	if r.Optional {
		lost("optional", "true", policy)
	}
	if r.Security && r.Class != bom.TPM && r.Class != bom.BMC {
		lost("security", "true", policy)
	}
	for i, a := range r.Alternates {
		lost(fmt.Sprintf("alternates[%d]", i), cmp.Or(bom.Describe(a), "an alternate"), policy)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Attributes)) {
		if k != "classCode" || r.Class != bom.PCI {
			lost("attributes."+k, cmp.Or(r.Attributes[k], "empty"), "components have no such facts")
		}
	}
}

// properties carry what a manifest says of itself.
func (w *composer) properties() {
	add := func(path, name, value string) {
		if len(name) > maxField || len(value) > maxField {
			w.lose(path, value, fmt.Sprintf("is longer than the %d bytes of a field", maxField))
			return
		}
		w.props = append(w.props, Property{Name: name, Value: value})
	}
	add("id", propertyID, w.m.ID)
	add("version", propertyVersion, strconv.FormatInt(w.m.Version, 10))
	if v := w.m.Environment.Virtual; v != "" {
		add("environment.virtual", propertyVirtual, v)
	}
	for _, class := range slices.Sorted(maps.Keys(w.m.Classes)) {
		closure := w.m.Classes[class]
		if closure == bom.Closed && w.dropped[class] {
			w.lose("classes."+string(class), string(closure), "parts of the class were left out, so that the list is not complete")
			closure = bom.Open
		}
		add("classes."+string(class), propertyClass+string(class), string(closure))
	}
}

// unsaid lists the parts of a manifest that no certificate has.
func (w *composer) unsaid() {
	m := w.m
	for _, f := range []struct {
		path string
		n    int
	}{
		{"boot", len(m.Boot)},
		{"firmware", len(m.Firmware)},
		{"spdm", len(m.SPDM)},
		{"known", len(m.Known)},
		{"authority", len(m.Authority)},
		{"supersedes", len(m.Supersedes)},
	} {
		if f.n > 0 {
			w.lose(f.path, strconv.Itoa(f.n), "platform certificates have no place for them")
		}
	}
	if m.Delta != nil {
		w.lose("delta", m.Delta.Ticket, "a delta is made with the certificates that it changes")
	}
	if m.Scanner != nil {
		w.lose("scanner", m.Scanner.Image, "platform certificates have no place for them")
	}
	for i, e := range m.Endorsements {
		if !w.keeps(e) {
			w.lose(fmt.Sprintf("endorsements[%d]", i), cmp.Or(e.SHA256, e.Name, e.Number), "only the holder's certificate is named, by issuer and serial number")
		} else if e.SHA256 != "" || e.Name != "" || e.Algorithm != "" || e.Index != "" || e.Note != "" || !e.Optional {
			w.lose(fmt.Sprintf("endorsements[%d].detail", i), cmp.Or(e.SHA256, e.Index), "a certificate is named by issuer and serial number")
		}
	}
	if w.opt.Specs == nil && w.c.Kind != DeltaKind {
		w.lose("platformSpecification", "", "which specification the platform follows is not known; Options.Specs says it")
	}
}

// keeps reports whether an endorsement is the holder's certificate.
func (w *composer) keeps(e attest.Endorsement) bool {
	if e.Kind != "ek-certificate" {
		return false
	}
	h := w.c.Holder.Identifier
	if w.opt.EK != nil {
		h = Identifier{Issuer: w.opt.EK.Issuer, Serial: w.opt.EK.Serial}
		if sum, err := digestOf(oidSHA256, w.opt.EK.DER); err == nil && fmt.Sprintf("%x", sum) == e.SHA256 {
			return true
		}
	}
	return h.Serial != nil && e.Number == fmt.Sprintf("%x", h.Serial) && x500.SameTexts(e.Issuer, x500.String(h.Issuer))
}

// Sign fills in the issuer and signs. The certificate is complete afterwards.
func (c *Certificate) Sign(key crypto.Signer, issuer *x509.Certificate) error {
	if c.tbs != nil {
		return errors.New("the certificate is signed already")
	}
	if !samePublic(key.Public(), issuer.PublicKey) {
		return errors.New("the key is not that of the issuer's certificate")
	}
	alg, hash, err := signatureOf(key.Public())
	if err != nil {
		return err
	}
	c.Issuer, c.innerAlg, c.sigAlg = slices.Clone(issuer.RawSubject), alg, alg
	if len(issuer.SubjectKeyId) > 0 {
		value := build(func(b *cryptobyte.Builder) {
			under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { addText(b, ctx(0), string(issuer.SubjectKeyId)) })
		})
		c.Extensions = append([]extension{{ID: extAuthorityKeyID, Value: value}}, c.Extensions...)
	}
	tbs, err := c.encodeTBS()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	digest := tbs
	if hash != 0 {
		h := hash.New()
		h.Write(tbs)
		digest = h.Sum(nil)
	}
	signature, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	c.tbs, c.signature = tbs, signature
	c.Raw, err = c.Encode()
	if err != nil {
		return err
	}
	// What was written has to be what is read.
	again, err := Parse(c.Raw)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	*c = *again
	return nil
}
