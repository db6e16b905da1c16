package platformcert

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/loss"
	"github.com/assay-hw/assay/internal/x500"
	"github.com/assay-hw/assay/manifest"
)

// Loss is something that one format says and the other has no place for.
type Loss = loss.Loss

// ConvertOptions are what a certificate does not say.
type ConvertOptions struct {
	ID      string              // of the manifest's lineage; default: from the platform's names
	Version int64               // default: what Assay wrote, or one more than there are deltas
	EK      *ekcert.Certificate // the holder's certificate, when it is at hand: its digest is pinned too
}

// Properties in which Assay writes what a certificate has no field for.
const (
	propertyID      = "assay.id"
	propertyVersion = "assay.version"
	propertyVirtual = "assay.virtual" // the hypervisor that the platform is a machine of
	propertyClass   = "assay.class."  // and a class: how complete its lines are
)

// Convert makes a manifest of a build. What has no place in one is listed.
//
// A class is closed when the certificate lists a part of it, so that one more
// is unexpected, with two exceptions: PCI functions only when a host bridge is
// among them, since otherwise only some cards were listed, and network ports
// never. A certificate without components declares nothing about parts.
func Convert(b *Build, opt ConvertOptions) (*manifest.Manifest, []Loss, error) {
	c := &converter{b: b, m: &manifest.Manifest{Classes: map[bom.Class]bom.Closure{}, Components: []bom.Reference{}}}
	if err := c.environment(); err != nil {
		return nil, nil, err
	}
	for i := range b.Components {
		c.component(fmt.Sprintf("components[%d]", i), &b.Components[i])
	}
	if len(b.Components) == 0 {
		c.lose("components", "", "the certificate lists no component: it vouches for no part")
	}
	c.merge()
	c.closures()
	if err := c.holder(opt.EK); err != nil {
		return nil, nil, err
	}
	if err := c.properties(); err != nil {
		return nil, nil, err
	}
	c.rest()
	c.name(opt)
	return c.m, c.lost, nil
}

type converter struct {
	b    *Build
	m    *manifest.Manifest
	lost []Loss
}

func (c *converter) lose(path, value, why string) {
	c.lost = append(c.lost, Loss{Where: path, Value: value, What: why})
}

// said is a value, or nothing when it is a placeholder.
func (c *converter) said(path, v string) string {
	v = clean(v)
	if v == "" {
		return ""
	}
	if why, fake := ids.Placeholder(v); fake {
		c.lose(path, v, "says nothing: "+why)
		return ""
	}
	return v
}

// clean is a text as manifests hold it: composed, valid, and one line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(ids.Clean(s), ""))
	return norm.NFC.String(s)
}

// drop lists values that have no place.
func (c *converter) drop(path, v, why string) {
	if v = c.said(path, v); v != "" {
		c.lose(path, v, why)
	}
}

func (c *converter) environment() error {
	p := c.b.Platform
	if clean(p.Manufacturer) == "" || clean(p.Model) == "" {
		return errors.New("the certificate does not name the platform's manufacturer and model")
	}
	c.m.Environment = manifest.Environment{
		Manufacturer: clean(p.Manufacturer), Model: clean(p.Model), Revision: c.said("platform.version", p.Version), Serial: c.said("platform.serial", p.Serial),
	}
	if p.ManufacturerID != "" {
		c.lose("platform.manufacturerId", p.ManufacturerID, "the environment has no place for it")
	}
	return nil
}

func (c *converter) component(path string, p *Component) {
	class := p.BOMClass()
	r := bom.Reference{Class: class, Identity: bom.Identity{Maker: c.said(path+".manufacturer", p.Maker), Serial: c.said(path+".serial", p.Serial)}}
	if p.Location != "" {
		r.Location.Designator = clean(p.Location)
	}
	switch {
	case class == "":
		c.unshown(path, p, &r)
	case class == bom.PCI && p.Registry == PCIeRegistry:
		c.function(path, p, &r)
	case class == bom.Storage && p.Registry == StorageRegistry:
		c.disk(path, p, &r)
	default:
		c.part(path, p, &r)
	}
	if p.PEN != "" {
		if n, ok := strings.CutPrefix(p.PEN, "1.3.6.1.4.1."); ok {
			r.Identity.MakerIDs = append(r.Identity.MakerIDs, "pen:"+n)
		} else {
			c.lose(path+".manufacturerId", p.PEN, "is no private enterprise number")
		}
	}
	if class != bom.Network {
		c.ports(path, p)
	}
	c.extras(path, p)
	if class == bom.TPM || class == bom.BMC {
		r.Security = true
	}
	c.m.Components = append(c.m.Components, r)
}

// unshown keeps a part that no machine tells of itself for the eyes of whoever
// opens it.
func (c *converter) unshown(path string, p *Component, r *bom.Reference) {
	r.Class, r.Verifiability = bom.FRU, "physical-only"
	r.Identity.Model = c.said(path+".model", p.Model)
	r.Identity.Revision = c.said(path+".revision", p.Revision)
	category, name := p.Words()
	r.Note = strings.TrimSpace(category + " " + name)
	if p.Class == "" {
		c.lose(path+".class", "", "the certificate gives no class; the part can only be looked at")
		return
	}
	c.lose(path+".class", p.Registry+":"+p.Class, "no machine tells of such parts; it can only be looked at")
}

// function reads a PCI function with the names of its registry.
func (c *converter) function(path string, p *Component, r *bom.Reference) {
	f, ok := parsePCI(p)
	if !ok {
		c.part(path, p, r)
		return
	}
	sub := func(s string) string {
		if s == "" {
			return "0000"
		}
		return strings.ToLower(s)
	}
	r.Identity = bom.Identity{
		Maker: "", Model: fmt.Sprintf("%s:%s %s:%s", strings.ToLower(f.Vendor), strings.ToLower(f.Device), sub(f.SubVendor), sub(f.Sub)),
		Revision: strings.ToLower(f.Revision), PartNumber: c.said(path+".model", f.VPDPart), Serial: c.said(path+".serial", f.VPDSerial),
		MakerIDs: []string{"pci:" + strings.ToLower(f.Vendor)},
	}
	if n, err := strconv.ParseUint(f.Vendor, 16, 16); err == nil {
		r.Identity.Maker = ids.PCIVendor(uint16(n))
	}
	if f.EUI64 != "" {
		if r.Identity.Serial == "" {
			r.Identity.Serial = "dsn:" + strings.ToLower(f.EUI64)
		} else {
			c.lose(path+".serial", f.EUI64, "the device serial number; a line has one serial number, that of the vital product data")
		}
	}
	if f.SubVendor == "" {
		r.Level = "family" // bridges are named without subsystem, and may have one
	}
	c.drop(path+".manufacturer", f.VPDMaker, "the identity of a function has no manufacturer beside its ids")
	r.Attributes = map[string]string{"classCode": fmt.Sprintf("%06x", f.Class)}
}

// disk reads a drive with the names of its registry.
func (c *converter) disk(path string, p *Component, r *bom.Reference) {
	d, ok := parseDisk(p)
	if !ok {
		c.part(path, p, r)
		return
	}
	r.Identity = bom.Identity{Model: c.said(path+".model", d.Model), Serial: c.said(path+".serial", d.Serial), Firmware: c.said(path+".revision", d.Revision)}
	switch d.Protocol {
	case "scsi":
		r.Identity.Maker = c.said(path+".manufacturer", d.Maker)
	case "ata":
		r.Identity.MakerIDs = []string{"oui:" + strings.ToLower(d.Maker)}
	default:
		if v, _, ok := strings.Cut(d.Maker, ":"); ok && len(v) == 4 {
			r.Identity.MakerIDs = []string{"pci:" + strings.ToLower(v)}
		}
	}
	c.drop(path+".serial", d.UniqueID, "the world wide name; a line has one serial number")
	c.drop(path+".serial", d.NQN, "the name of the NVMe subsystem")
	if d.Kind != 0 {
		c.lose(path+".class", p.Class, "form factor, peripheral type and class code are not compared")
	}
}

var (
	numberOnly = regexp.MustCompile(`^[0-9A-F]{1,4}$`)
	hasLetters = regexp.MustCompile(`[A-Za-z]{3}`)
)

// part reads a component by its class; model and revision mean other things in
// each.
func (c *converter) part(path string, p *Component, r *bom.Reference) {
	model, revision := c.said(path+".model", p.Model), c.said(path+".revision", p.Revision)
	id := &r.Identity
	id.PartNumber = c.said(path+".partNumber", p.PartNumber)
	if p.Registry == SMBIOSRegistry {
		c.structure(path, r, model, revision)
		return
	}
	id.Model, id.Revision = model, revision
	switch r.Class {
	case bom.Processor:
		if numberOnly.MatchString(model) && hasLetters.MatchString(revision) {
			c.lose(path+".model", model, "the number of a processor family; the revision names the model")
			id.Model, id.Revision = revision, ""
		}
	case bom.Chassis:
		if numberOnly.MatchString(model) {
			c.lose(path+".model", model, "the number of a chassis type, which is no model")
			id.Model, r.Level = "", "class"
		}
	case bom.Memory:
		if id.PartNumber == "" {
			id.Model, id.PartNumber = "", model
		}
		id.Revision = ""
		c.drop(path+".revision", revision, "memory modules are not compared by revision")
	case bom.Storage:
		id.Revision, id.Firmware = "", revision
	case bom.Firmware:
		id.Revision, id.Firmware = "", revision
		if model == "" {
			id.Model = "BIOS" // as a machine's own firmware is called
		}
	case bom.Network:
		c.port(path, p, r)
	case bom.PCI:
		r.Verifiability = "physical-only"
		c.lose(path+".model", model, "a name where a machine answers with ids: it can only be looked at")
	}
}

// structure reads a component with the names of the SMBIOS registry.
func (c *converter) structure(path string, r *bom.Reference, model, revision string) {
	id := &r.Identity
	id.Model, id.Revision = model, revision
	low := func(why string) {
		if model != "" {
			c.lose(path+".model", model, why)
		}
		id.Model = ""
	}
	switch r.Class {
	case bom.Processor:
		low("the number of a processor family; the revision names the model")
		id.Model, id.Revision = revision, ""
	case bom.Chassis:
		low("the number of a chassis type, which is no model")
		r.Level = "class"
	case bom.Memory:
		id.Model, id.PartNumber, id.Revision = "", model, ""
		c.drop(path+".revision", revision, "memory modules are not compared by revision")
	case bom.Firmware:
		id.Model, id.Firmware, id.Revision = "BIOS", model, ""
		c.drop(path+".revision", revision, "the release number; the version is compared")
	case bom.TPM:
		low("the version of the TPM's specification")
		id.Revision, r.Level = "", "class"
		c.drop(path+".revision", revision, "the firmware's version, in another form than a TPM answers it")
		if b, err := hex.DecodeString(id.Maker); err == nil && len(b) == 4 {
			id.Maker = clean(strings.TrimRight(string(b), "\x00"))
			id.MakerIDs = []string{"tpm:" + id.Maker}
		}
	}
}

// port reads a network adapter: what a port tells of itself is its address.
func (c *converter) port(path string, p *Component, r *bom.Reference) {
	if len(p.Addresses) == 0 {
		r.Verifiability = "physical-only"
		c.lose(path+".addresses", "", "an adapter without address: it can only be looked at")
		return
	}
	c.drop(path+".serial", p.Serial, "a port's serial number is its address")
	if r.Identity.Model != portModel {
		c.drop(path+".model", p.Model, "a port does not tell its model")
		c.drop(path+".manufacturer", p.Maker, "a port does not tell its maker")
		r.Identity.Maker = ""
	}
	c.drop(path+".revision", p.Revision, "a port does not tell its revision")
	r.Identity.Model, r.Identity.Revision = portModel, ""
	r.Identity.Serial = c.address(path+".addresses[0]", p.Addresses[0])
	for i, a := range p.Addresses[1:] {
		c.addPort(fmt.Sprintf("%s.addresses[%d]", path, i+1), a)
	}
}

// portModel is what inventories call a port.
const portModel = "network port"

// ports makes lines of the addresses of another part.
func (c *converter) ports(path string, p *Component) {
	for i, a := range p.Addresses {
		c.addPort(fmt.Sprintf("%s.addresses[%d]", path, i), a)
	}
}

func (c *converter) addPort(path string, a Address) {
	if mac := c.address(path, a); mac != "" {
		c.m.Components = append(c.m.Components, bom.Reference{Class: bom.Network, Identity: bom.Identity{Model: portModel, Serial: mac}})
	}
}

// address is an address as systems print it, whichever of the historic spellings
// the issuer chose.
func (c *converter) address(path string, a Address) string {
	plain := strings.ToLower(plainMAC(a.Text))
	if len(plain) != 12 || strings.Trim(plain, "0123456789abcdef") != "" {
		c.lose(path, a.Text, "is no address of 48 bits")
		return ""
	}
	if a.Kind != addressEthernet {
		c.lose(path+".type", a.Kind, "a port does not tell that it is wireless")
	}
	var parts []string
	for i := 0; i < 12; i += 2 {
		parts = append(parts, plain[i:i+2])
	}
	return strings.Join(parts, ":")
}

// extras lists what of a component has no place in a line.
func (c *converter) extras(path string, p *Component) {
	if p.Replaceable != nil {
		c.lose(path+".fieldReplaceable", strconv.FormatBool(*p.Replaceable), "lines do not say who may replace a part")
	}
	if p.Certificate != nil {
		c.lose(path+".platformCert", p.Certificate.String(), "certificates of parts are not followed")
	}
	if p.URI != nil {
		c.lose(path+".platformCertUri", p.URI.Text, "nothing is fetched")
	}
	for i, t := range p.Traits {
		if p.v11 || slices.Contains(knownCategories, t.Category) {
			continue
		}
		c.lose(fmt.Sprintf("%s.traits[%d]", path, i), t.Text(), "a trait of category "+t.Category)
	}
}

var knownCategories = []string{
	categoryClass, categoryMaker, categoryModel, categorySerial, categoryStatus, categoryLocation, categoryRevision, categoryReplaceable,
	categoryPlatformCert, categoryGenericCert, categoryMAC, categoryPEN, categoryPartNumber, categoryComponentV11,
}

// merge makes one line of parts that are alike and have no number of their own.
func (c *converter) merge() {
	var out []bom.Reference
	at := map[string]int{}
	for _, r := range c.m.Components {
		key := fmt.Sprintf("%+v", r)
		if i, ok := at[key]; ok && r.Identity.Serial == "" {
			out[i].Quantity = max(1, out[i].Quantity) + 1
			continue
		}
		at[key] = len(out)
		out = append(out, r)
	}
	n := map[bom.Class]int{}
	for i := range out {
		n[out[i].Class]++
		out[i].ID = fmt.Sprintf("%s-%d", out[i].Class, n[out[i].Class])
	}
	if out != nil {
		c.m.Components = out
	}
}

func (c *converter) closures() {
	host := false
	for _, r := range c.m.Components {
		host = host || r.Class == bom.PCI && r.Attributes["classCode"] == "060000"
	}
	for _, r := range c.m.Components {
		switch {
		case r.Verifiability == "physical-only" || r.Class == bom.Network || r.Class == bom.PCI && !host:
			if _, ok := c.m.Classes[r.Class]; !ok && r.Class != bom.FRU {
				c.m.Classes[r.Class] = bom.Open
			}
		default:
			c.m.Classes[r.Class] = bom.Closed
		}
	}
}

// holder pins the endorsement key certificate that the platform certificate is
// about.
func (c *converter) holder(ek *ekcert.Certificate) error {
	base := c.b.Base
	if ek != nil {
		tolerated, err := base.Bound(ek)
		if err != nil {
			return err
		}
		for _, what := range tolerated {
			c.lose("holder", "", what)
		}
	}
	for _, id := range base.ekNames() {
		e := attest.Endorsement{Kind: "ek-certificate", Issuer: norm.NFC.String(x500.String(id.Issuer)), Number: fmt.Sprintf("%x", id.Serial), Optional: true}
		if id.Serial.Sign() < 0 {
			c.lose("holder", id.String(), "a negative serial number")
			continue
		}
		if ek != nil && id.isUnder(subject{ek.Issuer, ek.Serial, ek.Signature()}, x500.SameValues) == nil {
			e.Issuer = norm.NFC.String(x500.String(ek.Issuer))
			sum, err := digestOf(oidSHA256, ek.DER)
			if err != nil {
				return err
			}
			e.SHA256, e.Algorithm = hex.EncodeToString(sum), ek.KeyKind
		}
		if len(id.Digest) > 0 && e.SHA256 == "" {
			c.lose("holder.digest", hex.EncodeToString(id.Digest), "a digest over the certificate's signature, which only the certificate itself can be held against")
		}
		c.m.Endorsements = append(c.m.Endorsements, e)
	}
	if o := base.Holder.Object; o != nil && base.Form == AttributeForm {
		if digestHashes[o.Algorithm] == crypto.SHA256 && o.Type < 2 {
			c.m.Endorsements = append(c.m.Endorsements, attest.Endorsement{Kind: []string{"ek", "ek-certificate"}[o.Type], SHA256: hex.EncodeToString(o.Digest), Optional: true})
		} else {
			c.lose("holder.objectDigestInfo", hex.EncodeToString(o.Digest), "a digest with another algorithm than SHA-256, or over something else")
		}
	}
	if base.Holder.Entity != nil && base.Form == AttributeForm {
		c.lose("holder.entityName", x500.String(base.Holder.Entity), "a name proves no TPM")
	}
	if len(c.m.Endorsements) == 0 {
		c.lose("holder", "", "no endorsement key certificate is named: the certificate is not bound to a TPM")
	}
	return nil
}

// ekNames are the certificates of endorsement keys that a certificate names by
// issuer and serial number.
func (c *Certificate) ekNames() []Identifier {
	var out []Identifier
	if c.Form == AttributeForm && c.Holder.Serial != nil {
		out = append(out, c.Holder.Identifier)
	}
	for _, t := range c.Anchors {
		if t.Category == categoryEK && t.Certificate != nil && t.Certificate.Serial != nil {
			if len(out) == 0 || !sameName(out[0], *t.Certificate) {
				out = append(out, *t.Certificate)
			}
		}
	}
	return out
}

func sameName(a, b Identifier) bool {
	return a.Serial.Cmp(b.Serial) == 0 && x500.Equal(a.Issuer, b.Issuer)
}

// properties reads back what Assay wrote. A name that is there twice has no
// meaning: two readers would take one each.
func (c *converter) properties() error {
	seen := map[string]bool{}
	for i, p := range c.b.Properties {
		path := fmt.Sprintf("properties[%d]", i)
		if strings.HasPrefix(p.Name, "assay.") {
			if seen[p.Name] {
				return fmt.Errorf("property %s is there twice", clip(p.Name))
			}
			seen[p.Name] = true
		}
		class, ok := strings.CutPrefix(p.Name, propertyClass)
		ok = ok && slices.Contains(allClasses, bom.Class(class)) && slices.Contains([]bom.Closure{bom.Closed, bom.Open, bom.NoneThere}, bom.Closure(p.Value))
		n, err := strconv.ParseInt(p.Value, 10, 64)
		switch {
		case p.Name == propertyID && p.Value != "":
			c.m.ID = clean(p.Value)
		case p.Name == propertyVersion && err == nil && n > 0:
			c.m.Version = n
		case p.Name == propertyVirtual && p.Value != "":
			c.m.Environment.Virtual = clean(p.Value)
		case ok:
			c.m.Classes[bom.Class(class)] = bom.Closure(p.Value)
		default:
			c.lose(path, p.Name+"="+p.Value, "manifests have no properties of the platform")
		}
	}
	return nil
}

var allClasses = []bom.Class{
	bom.System, bom.Baseboard, bom.Chassis, bom.Processor, bom.Memory, bom.PCI, bom.USB, bom.Storage, bom.Network,
	bom.I2C, bom.FRU, bom.IPMB, bom.Flash, bom.Power, bom.TPM, bom.BMC, bom.Firmware, bom.ACPI,
}

// rest lists the attributes and extensions that a manifest has no place for.
func (c *converter) rest() {
	for _, cert := range append([]*Certificate{c.b.Base}, c.b.Deltas...) {
		for _, a := range cert.Attributes {
			switch a.Type {
			case attrConfigV1, attrConfigV2, attrConfigV3, attrCredentialType, attrCredentialSpec, attrPrevious, attrAnchors:
				continue
			}
			for _, v := range a.Values {
				if len(inside(v)) > 0 {
					c.lose(cert.String()+".attributes."+a.Type, hex.EncodeToString(v[:min(len(v), 32)]), "what the maker asserts about the platform is not appraised")
				}
			}
		}
		for _, x := range cert.Extensions {
			switch x.ID {
			case extSubjectAltName, extAuthorityKeyID, extSubjectDirectory, extSubjectKeyID, extConstraints, extPurposes, extKeyUsage, extPolicies:
				continue
			}
			c.lose(cert.String()+".extensions."+x.ID, "", "has no place in a manifest")
		}
	}
	for i, t := range c.b.Anchors {
		if t.Category != categoryEK || t.Certificate == nil {
			c.lose(fmt.Sprintf("anchors[%d]", i), t.Text(), "only certificates of endorsement keys are pinned")
		}
	}
	if f := c.b.Base.Configuration; f != nil {
		for path, u := range map[string]*uri{"componentIdentifiersUri": f.ComponentsURI, "platformPropertiesUri": f.PropertiesURI} {
			if u != nil {
				c.lose(path, u.Text, "nothing is fetched: parts that are listed there are not declared")
			}
		}
	}
	slices.SortStableFunc(c.lost, func(a, b Loss) int { return strings.Compare(a.Where+a.Value, b.Where+b.Value) })
}

var notInID = regexp.MustCompile(`[^a-z0-9.]+`)

func (c *converter) name(opt ConvertOptions) {
	m, e := c.m, c.m.Environment
	if opt.ID != "" {
		m.ID = opt.ID
	}
	if m.ID == "" {
		m.ID = strings.Trim(notInID.ReplaceAllString(strings.ToLower(strings.Join([]string{e.Manufacturer, e.Model, e.Serial}, "-")), "-"), "-")
	}
	if m.ID == "" {
		m.ID = "platform-certificate"
	}
	if opt.Version > 0 {
		m.Version = opt.Version
	}
	if m.Version == 0 {
		m.Version = int64(len(c.b.Deltas)) + 1
	}
	m.IssuedAt, m.NotAfter = c.b.last().NotBefore.UTC().Truncate(time.Second), c.b.Base.NotAfter.UTC().Truncate(time.Second)
}
