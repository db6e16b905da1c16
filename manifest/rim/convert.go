package rim

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/loss"
	"github.com/assay-hw/assay/manifest"
)

// The reasons for which RIMs are not converted.
var (
	ErrIncomplete = errors.New("the RIM does not name a platform")
	ErrUnrelated  = errors.New("the RIMs do not belong together")
)

// Loss is something that a RIM says and a manifest has no place for, or the
// other way round.
type Loss = loss.Loss

// Chain returns the certificate of the signer with all that may stand above it,
// or nothing for a RIM whose signature was not looked at.
func (r *RIM) Chain() []*x509.Certificate { return slices.Clone(r.chain) }

// Kind is "base", "supplemental" or "patch".
func (r *RIM) Kind() string {
	switch {
	case r.Patch:
		return "patch"
	case r.Supplemental:
		return "supplemental"
	}
	return "base"
}

// said returns the first of some attributes that is there.
func (r *RIM) said(names ...string) string {
	for _, n := range names {
		if v := r.Meta[strings.ToLower(n)]; v != "" {
			return v
		}
	}
	return ""
}

// LinkedTo says how a supplemental or patch RIM names a base: "hash" when
// rimLinkHash is a digest of the base's file, "tag" when a link names its tag
// id, or "".
func (r *RIM) LinkedTo(base *RIM) string {
	if want := r.said("rimLinkHash"); want != "" && base.hasDigest(want) {
		return "hash"
	}
	for _, l := range r.Links {
		if base.TagID != "" && (strings.EqualFold(l.Rel, "patches") || strings.EqualFold(l.Rel, "supplemental") || strings.EqualFold(l.Rel, "requires")) &&
			strings.TrimPrefix(l.Href, "swid:") == base.TagID {
			return "tag"
		}
	}
	return ""
}

// hasDigest reports whether a text, hexadecimal or base64, is a digest of the
// file.
func (r *RIM) hasDigest(s string) bool {
	a, b, c, d := sha1.Sum(r.raw), sha256.Sum256(r.raw), sha512.Sum384(r.raw), sha512.Sum512(r.raw)
	for _, sum := range [][]byte{a[:], b[:], c[:], d[:]} {
		if strings.EqualFold(s, hex.EncodeToString(sum)) || s == base64.StdEncoding.EncodeToString(sum) {
			return true
		}
	}
	return false
}

// Convert makes a manifest of a base RIM and, in this order, of the supplements
// and patches to it. Only support RIMs that Bind found are in it. All must be
// about one platform and be signed by one organisation: a statement keeps its
// signer's authority. A supplement adds events, in any order where a register
// has events of several RIMs; the registers of a patch replace those before it.
//
// The manifest has every register that the RIMs assert, those of software too;
// what its signer may say, manifest.Trust.Accept decides.
func Convert(base *RIM, more ...*RIM) (*manifest.Manifest, []Loss, error) {
	c := &converter{registers: map[int]*attest.Reference{}}
	if base.Patch || base.Supplemental {
		c.lose("tag", "it is a "+base.Kind()+" RIM and was taken as a base")
	}
	m := &manifest.Manifest{ID: "rim:" + base.TagID, Components: []bom.Reference{}, Classes: map[bom.Class]bom.Closure{}}
	m.Environment = manifest.Environment{
		Manufacturer: base.said("platformManufacturerStr"), Model: base.said("platformModel"), Revision: base.said("platformVersion"),
	}
	if m.Environment.Manufacturer == "" || m.Environment.Model == "" {
		return nil, nil, fmt.Errorf("%w: platformManufacturerStr and platformModel are needed", ErrIncomplete)
	}
	c.version(m, base)
	for _, r := range more {
		if err := c.related(base, r); err != nil {
			return nil, nil, err
		}
	}
	for i, r := range append([]*RIM{base}, more...) {
		if err := c.add(r, i > 0 && r.Patch); err != nil {
			return nil, nil, err
		}
		c.firmware(m, r)
		c.rest(r)
	}
	for _, pcr := range slices.Sorted(maps.Keys(c.registers)) {
		m.Boot = append(m.Boot, *c.registers[pcr])
	}
	if len(m.Boot) == 0 {
		c.lose("boot", "no support RIM was given that asserts events or registers")
	}
	slices.SortStableFunc(c.losses, func(a, b Loss) int {
		return strings.Compare(a.Where+"\x00"+a.What, b.Where+"\x00"+b.What)
	})
	return m, slices.Compact(c.losses), nil
}

type converter struct {
	registers map[int]*attest.Reference
	losses    []Loss
}

func (c *converter) lose(subject, what string) {
	c.losses = append(c.losses, Loss{Where: subject, What: what})
}

// version dates the manifest: by a signed time stamp, else by the day from
// which the signer's certificate is valid, which is no later than the signature.
func (c *converter) version(m *manifest.Manifest, base *RIM) {
	v, err := strconv.ParseInt(base.TagVersion, 10, 32)
	if err != nil || v < 1 {
		c.lose("tagVersion", fmt.Sprintf("%q is no version of a manifest, which begin with 1", base.TagVersion))
		v = 1
	}
	m.Version = v
	switch {
	case !base.SignedAt.IsZero():
		m.IssuedAt = base.SignedAt.Truncate(time.Second)
	case len(base.chain) > 0:
		m.IssuedAt = base.chain[0].NotBefore.UTC()
		c.lose("date", "the RIM does not say when it was signed; the day from which the signer's certificate is valid stands for it")
	default:
		m.IssuedAt = time.Unix(0, 0).UTC()
		c.lose("date", "the RIM does not say when it was signed")
	}
}

// related checks that a RIM belongs to the base.
func (c *converter) related(base, r *RIM) error {
	for _, k := range []string{"platformManufacturerStr", "platformModel"} {
		if a, b := base.said(k), r.said(k); b != "" && a != b {
			return fmt.Errorf("%w: %s is %q and %q", ErrUnrelated, k, a, b)
		}
	}
	if len(base.chain) > 0 && len(r.chain) > 0 && !slices.Equal(base.chain[0].Subject.Organization, r.chain[0].Subject.Organization) {
		return fmt.Errorf("%w: %s signed the base and %s the %s RIM; convert the latter by itself", ErrUnrelated, signerName(base.chain[0]), signerName(r.chain[0]), r.Kind())
	}
	if (len(base.chain) == 0) != (len(r.chain) == 0) {
		return fmt.Errorf("%w: the signature of only one of them was checked", ErrUnrelated)
	}
	switch how, hash := r.LinkedTo(base), r.said("rimLinkHash"); {
	case how == "hash":
	case r.Patch && how == "":
		return fmt.Errorf("%w: the patch %.80q names another base than %.80q", ErrUnrelated, r.TagID, base.TagID)
	case hash != "":
		c.lose(r.TagID, "rimLinkHash is no digest of the base RIM that was given")
	case how == "":
		c.lose(r.TagID, "nothing in it names the base RIM; maker and model agree")
	}
	return nil
}

// add takes over the support RIMs of one RIM.
func (c *converter) add(r *RIM, replace bool) error {
	replaced := map[int]bool{}
	for _, s := range r.supports {
		c.losses = append(c.losses, s.losses...)
		for _, ref := range s.references {
			old := c.registers[ref.PCR]
			if replace && !replaced[ref.PCR] {
				old, replaced[ref.PCR] = nil, true
			}
			if old == nil {
				ref.Note, ref.Digests = text(ref.Note), maps.Clone(ref.Digests)
				c.registers[ref.PCR] = &ref
				continue
			}
			if err := join(old, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// join adds what another support RIM asserts of a register.
func join(old *attest.Reference, add attest.Reference) error {
	if len(old.Events) > 0 && len(add.Events) > 0 {
		old.Order = "any" // neither says where its events stand among the other's
	}
	old.Events = append(slices.Clone(old.Events), add.Events...)
	for bank, v := range add.Digests {
		if had := old.Digests[bank]; len(had) > 0 && !slices.Equal(had, v) {
			return fmt.Errorf("%w: two support RIMs assert different values of PCR %d", ErrUnrelated, old.PCR)
		}
		if old.Digests == nil {
			old.Digests = map[string][]string{}
		}
		old.Digests[bank] = v
	}
	return nil
}

// firmware takes over the version of the firmware. Of several RIMs the last
// counts.
func (c *converter) firmware(m *manifest.Manifest, r *RIM) {
	v := r.said("firmwareVersion")
	if v == "" {
		return
	}
	ref := firmware.Reference{Name: "bios", Version: v, Note: text(strings.TrimSpace("TCG RIM: " + r.said("firmwareManufacturerStr") + " " + r.said("firmwareModel")))}
	m.Firmware = []firmware.Reference{ref}
}

// placed are the attributes that a manifest has a place for, or that only help
// to find documents.
var placed = map[string]bool{
	"platformmanufacturerstr": true, "platformmodel": true, "platformversion": true, "firmwareversion": true, "rimlinkhash": true,
	"firmwaremanufacturerstr": true, "firmwaremodel": true,
}

// rest tells what has no place.
func (c *converter) rest(r *RIM) {
	for _, k := range slices.Sorted(maps.Keys(r.Meta)) {
		if !placed[k] {
			c.lose(r.TagID, fmt.Sprintf("%s=%q", k, r.Meta[k]))
		}
	}
	for _, l := range r.Links {
		c.lose(r.TagID, fmt.Sprintf("link %s to %s", l.Rel, l.Href))
	}
	for _, e := range r.Entities {
		c.lose(r.TagID, fmt.Sprintf("entity %q with the roles %q", e.Name, e.Role))
	}
	for _, what := range r.Lost {
		c.lose(r.TagID, what)
	}
	if n := len(r.Measurements); n > 0 {
		c.lose(r.TagID, fmt.Sprintf("%d measurements in the tag: it does not name the roots or keys of the device that reports them", n))
	}
	bound := map[string]bool{}
	for _, s := range r.supports {
		bound[s.file.Name] = true
	}
	for _, f := range r.Files {
		if !bound[f.Name] {
			c.lose(r.TagID, fmt.Sprintf("support RIM %q, which was not given or could not be read", f.Name))
		}
	}
}
