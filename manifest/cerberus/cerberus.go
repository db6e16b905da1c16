// Package cerberus reads the manifests of Project Cerberus in the XML form that
// their tools make the signed binaries of: what firmware a platform may run (PFM),
// how its components attest (CFM and its component files), and how they are wired
// (PCD). The XML is signed by nobody; it becomes a draft. Of the binary forms the
// header is told, and nothing more is read.
package cerberus

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/loss"
	"github.com/assay-hw/assay/internal/xmltree"
	"github.com/assay-hw/assay/manifest"
)

// MaxBytes bounds one file.
const MaxBytes = 4 << 20

// maxLines bounds the components of one file.
const maxLines = 4096

// ErrMalformed is wrapped by every error of Import; the text names file and
// offset.
var ErrMalformed = errors.New("malformed Cerberus manifest")

// Loss is something of a file that has no place in a manifest.
type Loss = loss.Loss

// File is one file by name.
type File struct {
	Name string
	Data []byte
}

// magics are the second words of binary manifests (Project Cerberus,
// manifest_format.h).
var magics = map[uint16]string{0x504d: "PFM, version 1", 0x706d: "PFM", 0xa592: "CFM", 0x1029: "PCD"}

// binaryKind tells a signed binary: its header has 12 bytes, and the first word is
// the length of the file.
func binaryKind(b []byte) (kind string, id uint32, ok bool) {
	if len(b) < 12 || int(binary.LittleEndian.Uint16(b)) != len(b) || int(binary.LittleEndian.Uint16(b[8:])) > len(b)-12 {
		return "", 0, false
	}
	kind, ok = magics[binary.LittleEndian.Uint16(b[2:])]
	return kind, binary.LittleEndian.Uint32(b[4:]), ok
}

// IsManifest reports whether a file may be one of these manifests.
func IsManifest(b []byte) bool {
	if _, _, ok := binaryKind(b); ok {
		return true
	}
	head := string(b[:min(len(b), 8192)])
	switch {
	case !strings.HasPrefix(strings.TrimLeft(head, "\ufeff \t\r\n"), "<"):
		return false
	case strings.Contains(head, "<CFMComponent"), strings.Contains(head, "<CFM ") && strings.Contains(head, "<Component"), strings.Contains(head, "<PCD "):
		return true
	}
	return strings.Contains(head, "<Firmware ") && strings.Contains(head, "platform=")
}

type importer struct {
	m    *manifest.Manifest
	file string
	lost []Loss
}

// Import makes one draft of several files. What has no place in a manifest is
// returned.
func Import(files ...File) (*manifest.Manifest, []Loss, error) {
	i := &importer{m: &manifest.Manifest{Components: []bom.Reference{}, Classes: map[bom.Class]bom.Closure{}}}
	for _, f := range files {
		i.file = f.Name
		if err := i.read(f.Data); err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %w", ErrMalformed, f.Name, err)
		}
	}
	return i.m, i.lost, nil
}

func (i *importer) read(b []byte) error {
	if kind, id, ok := binaryKind(b); ok {
		return fmt.Errorf("offset 0: a signed binary %s with id %d; its tables are not read: give the XML that it was made from", kind, id)
	}
	limits := xmltree.DefaultLimits()
	limits.Bytes = MaxBytes
	doc, err := xmltree.Parse(b, limits)
	if err != nil {
		return err
	}
	switch root := doc.Root; root.Name.Local {
	case "Firmware":
		return i.pfm(root)
	case "CFM":
		for _, c := range root.Elements() {
			i.lose(c, "component %s is told in a file of its own", unquote(text(c)))
		}
		i.platform(attr(root, "sku"))
		return nil
	case "CFMComponent":
		return i.cfm(root)
	case "PCD":
		return i.pcd(root)
	default:
		return fmt.Errorf("offset %d: <%.40s> is none of Firmware, CFM, CFMComponent and PCD", root.Offset, root.Name.Local)
	}
}

func (i *importer) lose(n *xmltree.Node, format string, args ...any) {
	i.lost = append(i.lost, Loss{Where: fmt.Sprintf("%s: offset %d", i.file, n.Offset), What: fmt.Sprintf(format, args...)})
}

func (i *importer) platform(name string) {
	if name = ids.Clean(name); i.m.Environment.Model == "" {
		i.m.Environment.Model = name
	}
}

// attr is an attribute, or "".
func attr(n *xmltree.Node, name string) string {
	v, _ := n.Attr("", name)
	return ids.Clean(v)
}

// child is the first element of a name, or an empty one.
func child(n *xmltree.Node, name string) *xmltree.Node {
	for _, c := range n.Elements() {
		if c.Name.Local == name {
			return c
		}
	}
	return &xmltree.Node{Offset: n.Offset}
}

func children(n *xmltree.Node, name string) []*xmltree.Node {
	return slices.DeleteFunc(n.Elements(), func(c *xmltree.Node) bool { return c.Name.Local != name })
}

// text is what an element holds, without the blanks around it.
func text(n *xmltree.Node) string {
	s, _ := n.Content()
	return strings.TrimSpace(s)
}

func unquote(s string) string { return ids.Clean(strings.Trim(s, `"`)) }

// number reads "0x41" and "41".
func number(n *xmltree.Node, bits int) (uint64, error) {
	v, err := strconv.ParseUint(text(n), 0, bits)
	if err != nil {
		return 0, fmt.Errorf("offset %d: <%s>: %.40q is no number of %d bits", n.Offset, n.Name.Local, text(n), bits)
	}
	return v, nil
}

// pfm reads which firmware may be in a flash. The digests are over several ranges
// of the flash at once, which manifests have no word for.
func (i *importer) pfm(root *xmltree.Node) error {
	name := strings.ToLower(attr(root, "type"))
	if name == "" {
		name = "bios"
	}
	if strings.ContainsAny(name, "/\\ ") {
		return fmt.Errorf("offset %d: type %.40q names no image", root.Offset, name)
	}
	i.platform(attr(root, "platform"))
	i.m.Firmware = append(i.m.Firmware, firmware.Reference{Name: name, Version: attr(root, "version"), Note: "Cerberus PFM for " + attr(root, "platform")})
	for _, n := range root.Elements() {
		switch n.Name.Local {
		case "SignedImage":
			where, err := ranges(n)
			if err != nil {
				return err
			}
			switch {
			case text(child(n, "Hash")) != "":
				kind := text(child(n, "HashType"))
				if kind == "" {
					kind = "SHA256"
				}
				i.lose(n, "%s %s over %s", ids.Clean(kind), strings.ToLower(ids.Clean(text(child(n, "Hash")))), where)
			default:
				i.lose(n, "a signature over %s", where)
			}
		case "ReadWrite":
			where, err := ranges(n)
			if err != nil {
				return err
			}
			i.lose(n, "%s may be written in operation", where)
		default:
			i.lose(n, "%s %.80s", n.Name.Local, ids.Clean(text(n)))
		}
	}
	return nil
}

// ranges reads the ranges of a flash that something is about.
func ranges(n *xmltree.Node) (string, error) {
	var out []string
	for _, r := range children(n, "Region") {
		start, err := number(child(r, "StartAddr"), 32)
		if err != nil {
			return "", err
		}
		end, err := number(child(r, "EndAddr"), 32)
		if err != nil {
			return "", err
		}
		if end < start {
			return "", fmt.Errorf("offset %d: the range ends at %#x before its start %#x", r.Offset, end, start)
		}
		out = append(out, fmt.Sprintf("%#08x-%#08x", start, end))
	}
	if len(out) == 0 {
		return "", fmt.Errorf("offset %d: <%s> is about no range", n.Offset, n.Name.Local)
	}
	return strings.Join(out, ", "), nil
}

// cfm reads how one type of component attests. Of devices that speak SPDM, the
// measurement ids are the indices of SPDM (cfm.xsd), and become references.
func (i *importer) cfm(root *xmltree.Node) error {
	kind := attr(root, "type")
	if kind == "" {
		return fmt.Errorf("offset %d: a component without a type", root.Offset)
	}
	if p := attr(root, "attestation_protocol"); p != "SPDM" {
		return i.all(root, fmt.Sprintf("component %s attests by %s, of which evidence holds nothing", kind, p))
	}
	ref := spdm.Reference{ID: kind, Device: "spdm:" + kind, Open: true, Measurements: []spdm.Expected{}, Note: "Cerberus CFM; name the device as the evidence does"}
	hash := strings.ToLower(attr(root, "measurement_hash_type"))
	for _, n := range root.Elements() {
		switch n.Name.Local {
		case "RootCADigest":
			for _, d := range children(n, "Digest") {
				v := strings.ToLower(text(d))
				if len(v) != 64 {
					i.lose(d, "digest %.140s of a root certificate: not SHA-256", v)
					continue
				}
				ref.Roots = append(ref.Roots, v)
			}
		case "Measurement", "MeasurementData":
			if err := i.measurement(&ref, n, hash); err != nil {
				return err
			}
		default:
			if err := i.all(n, "component "+kind); err != nil {
				return err
			}
		}
	}
	if err := ref.Check(); err != nil {
		return i.all(root, fmt.Sprintf("component %s: %v", kind, err))
	}
	i.m.SPDM = append(i.m.SPDM, ref)
	if s := attr(root, "slot_num"); s != "" && s != "0" {
		i.lose(root, "component %s shows the certificate chain of slot %s", kind, s)
	}
	return nil
}

func (i *importer) measurement(ref *spdm.Reference, n *xmltree.Node, hash string) error {
	index, err := strconv.Atoi(attr(n, "measurement_id"))
	if err != nil || index < 1 || index > 254 {
		return fmt.Errorf("offset %d: measurement_id %.20q is no index", n.Offset, attr(n, "measurement_id"))
	}
	e := spdm.Expected{Index: index}
	if n.Name.Local == "Measurement" {
		e.Digests = map[string][]string{}
		for _, d := range children(n, "Digest") {
			e.Digests[hash] = append(e.Digests[hash], strings.ToLower(text(d)))
		}
	}
	rules := children(n, "AllowableData")
	for _, rule := range rules {
		if text(child(rule, "Check")) != "Equal" || len(children(rule, "Bitmask")) > 0 || len(rules) > 1 {
			return i.all(n, fmt.Sprintf("measurement %d of component %s", index, ref.ID))
		}
		for _, d := range children(rule, "Data") {
			v := text(d)
			if q := strings.Trim(v, `"`); q != v {
				v = hex.EncodeToString([]byte(q))
			}
			e.Raw = append(e.Raw, strings.ToLower(v))
		}
	}
	if at := slices.IndexFunc(ref.Measurements, func(o spdm.Expected) bool { return o.Index == index }); at >= 0 {
		return i.all(n, fmt.Sprintf("measurement %d of component %s is told again", index, ref.ID))
	}
	ref.Measurements = append(ref.Measurements, e)
	return nil
}

// all tells everything that an element holds as lost, value by value.
func (i *importer) all(n *xmltree.Node, what string) error {
	told := 0
	return n.Walk(func(x *xmltree.Node) error {
		if x.Kind != xmltree.Element || len(x.Elements()) > 0 && len(x.Attrs) == 0 {
			return nil
		}
		if told++; told > maxLines {
			return fmt.Errorf("offset %d: more than %d values", x.Offset, maxLines)
		}
		var says []string
		for _, a := range x.Attrs {
			says = append(says, a.Name.Local+"="+ids.Clean(a.Value))
		}
		if v := text(x); v != "" {
			says = append(says, ids.Clean(v))
		}
		i.lose(x, "%s: %s %.400s", what, x.Name.Local, strings.Join(says, " "))
		return nil
	})
}

// pcd reads how the components of a platform are wired. What answers behind a
// root of trust no host sees, so that the lines are for inspection until somebody
// says what they answer to.
func (i *importer) pcd(root *xmltree.Node) error {
	i.platform(attr(root, "sku"))
	if v, err := strconv.ParseInt(attr(root, "version"), 0, 64); err == nil && v > 0 {
		i.m.Version = v
	}
	for _, n := range root.Elements() {
		switch n.Name.Local {
		case "RoT":
			if err := i.rot(n); err != nil {
				return err
			}
		case "PowerController":
			if err := i.line(n, "power controller"); err != nil {
				return err
			}
		case "Components":
			for _, c := range n.Elements() {
				if err := i.line(c, attr(c, "type")); err != nil {
					return err
				}
			}
		default:
			i.lose(n, "%s", n.Name.Local)
		}
	}
	return nil
}

func (i *importer) rot(n *xmltree.Node) error {
	if err := i.line(n, attr(n, "type")); err != nil {
		return err
	}
	for _, p := range children(child(n, "Ports"), "Port") {
		if err := i.all(p, "port of the root of trust"); err != nil {
			return err
		}
	}
	return nil
}

// line makes a line of one component.
func (i *importer) line(n *xmltree.Node, what string) error {
	if len(i.m.Components) == maxLines {
		return fmt.Errorf("offset %d: more than %d components", n.Offset, maxLines)
	}
	if what == "" {
		return fmt.Errorf("offset %d: a component without a type", n.Offset)
	}
	r := bom.Reference{ID: fmt.Sprintf("%s-%d", strings.Join(strings.Fields(strings.ToLower(what)), "-"), len(i.m.Components)+1), Class: bom.I2C, Verifiability: "physical-only"}
	r.Identity.Name = what
	note := []string{"Cerberus PCD: " + what}
	if c := attr(n, "connection"); c != "" {
		note = append(note, "connected "+c)
	}
	if q, err := strconv.Atoi(attr(n, "count")); err == nil && q > 1 && q <= 255 {
		r.Quantity = q
	}
	if len(children(n, "VendorID")) > 0 {
		var v [4]uint64
		for k, name := range []string{"VendorID", "DeviceID", "SubsystemVendorID", "SubsystemDeviceID"} {
			var err error
			if v[k], err = number(child(n, name), 16); err != nil {
				return err
			}
		}
		r.Class, r.Identity.Model = bom.PCI, fmt.Sprintf("%04x:%04x %04x:%04x", v[0], v[1], v[2], v[3])
	}
	place, eid, err := wiring(child(n, "Interface"))
	if err != nil {
		return err
	}
	r.Location = finding.Location{Path: place}
	if e := text(child(n, "EID")); e != "" {
		eid = append(eid, "EID "+ids.Clean(e))
	}
	r.Note = strings.Join(append(note, eid...), ", ")
	i.m.Components = append(i.m.Components, r)
	for _, c := range n.Elements() {
		if slices.Contains([]string{"Policy", "PwrCtrl", "ComponentTypes"}, c.Name.Local) {
			if err := i.all(c, what); err != nil {
				return err
			}
		}
	}
	for _, a := range n.Attrs {
		if !slices.Contains([]string{"type", "connection", "count"}, a.Name.Local) {
			i.lose(n, "%s: %s=%.40s", what, a.Name.Local, ids.Clean(a.Value))
		}
	}
	return nil
}

// wiring reads bus, multiplexers and address of an I2C interface, and the numbers
// of its MCTP endpoints.
func wiring(n *xmltree.Node) (path string, endpoints []string, err error) {
	if len(n.Elements()) == 0 {
		return "", nil, nil
	}
	address, err := number(child(n, "Address"), 7)
	if err != nil {
		return "", nil, err
	}
	var steps []string
	if len(children(n, "Bus")) > 0 {
		bus, err := number(child(n, "Bus"), 8)
		if err != nil {
			return "", nil, err
		}
		steps = append(steps, fmt.Sprintf("i2c-%d", bus))
	}
	muxes := children(child(n, "Muxes"), "Mux")
	slices.SortStableFunc(muxes, func(a, b *xmltree.Node) int { return level(a) - level(b) })
	for _, m := range muxes {
		at, err := number(child(m, "Address"), 7)
		if err != nil {
			return "", nil, err
		}
		channel, err := number(child(m, "Channel"), 8)
		if err != nil {
			return "", nil, err
		}
		steps = append(steps, fmt.Sprintf("mux 0x%02x channel %d", at, channel))
	}
	for _, e := range []string{"EID", "RoTEID", "BridgeEID", "BridgeAddress", "I2CMode"} {
		if v := text(child(n, e)); v != "" {
			endpoints = append(endpoints, e+" "+ids.Clean(v))
		}
	}
	return strings.Join(append(steps, fmt.Sprintf("0x%02x", address)), "/"), endpoints, nil
}

func level(n *xmltree.Node) int {
	v, _ := strconv.Atoi(attr(n, "level"))
	return v
}
