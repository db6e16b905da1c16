package bom

import (
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/ids"
)

// level says how well a part fits a reference, best last. The order is that of
// the matching rules: an instance outranks a model, a model an alternate.
type level int

const (
	levelNone      level = iota
	levelClass           // same class only
	levelFamily          // same silicon family or maker, other model
	levelAlternate       // one of the line's approved alternates
	levelModel           // same model
	levelInstance        // same model and same instance id
)

var levelNames = map[string]level{
	"": levelModel, "class": levelClass, "family": levelFamily, "model": levelModel, "instance": levelInstance,
}

// String returns the name that a manifest uses.
func (l level) String() string {
	return [...]string{"none", "class", "family", "alternate", "model", "instance"}[l]
}

// keySep joins the parts of a key; no folded text holds it.
const keySep = "\x00"

// keys are the folded forms of an identity that decide equality. An empty key
// means that the identity does not say, and never equals anything.
type keys struct {
	model, family, serial string
	maker, bare           string // maker, and model without its maker
}

func keysOf(c Class, id *Identity) keys {
	k := keys{model: modelKey(c, id), family: familyKey(c, id), serial: serialKey(id)}
	if c == PCI {
		// Listings in words may leave out whose card a chip is on.
		k.bare, k.maker, _ = strings.Cut(k.model, " ")
	} else if c != USB && k.model != "" {
		k.maker, k.bare, _ = strings.Cut(k.model, keySep)
	} else if k.model == "" {
		k.maker = makerKey(id)
	}
	return k
}

// sameModel reports equal models. Where one side does not name a maker, the
// model alone decides; two makers that differ are two models.
func (k *keys) sameModel(o *keys) bool {
	return k.model != "" && k.model == o.model ||
		k.bare != "" && k.bare == o.bare && (k.maker == "" || o.maker == "")
}

// serialKey folds an instance id; placeholders do not identify anything.
func serialKey(id *Identity) string {
	if _, fake := ids.Placeholder(id.Serial); fake {
		return ""
	}
	return ids.Key(id.Serial)
}

// modelKey is the key of "the same model". Silicon ids come before names: a
// label can be printed, an id has to be built in.
func modelKey(c Class, id *Identity) string {
	model := ids.Key(id.Model)
	switch c {
	case PCI, USB:
		return model
	case I2C:
		if id.Model == unboundClient {
			return ""
		}
	case Memory:
		if pn := ids.Key(id.PartNumber); pn != "" {
			return makerKey(id) + keySep + pn
		}
		return ""
	}
	if model == "" {
		model = ids.Key(id.PartNumber)
	}
	if model == "" {
		return ""
	}
	return makerKey(id) + keySep + model
}

// makerKey folds the many spellings of one company; a registered id has been
// turned into its registered name before.
func makerKey(id *Identity) string {
	if _, fake := ids.Placeholder(id.Maker); fake {
		return ""
	}
	return ids.MakerKey(id.Maker)
}

// familyKey is the key of "the same family": the chip without its board.
func familyKey(c Class, id *Identity) string {
	switch c {
	case PCI, USB:
		chip, _, _ := strings.Cut(ids.Key(id.Model), " ")
		return chip
	case Memory:
		return makerKey(id)
	}
	return ""
}

// alternate returns which approved alternate a part is, or -1.
func (r *refItem) alternate(p *partItem) int {
	return slices.IndexFunc(r.alternates, func(k keys) bool { return k.sameModel(&p.keys) })
}

// fits returns how well a part's identity fits a reference line.
func fits(r *refItem, p *partItem) level {
	if r.ref.Class != p.part.Class {
		return levelNone
	}
	switch {
	case r.keys.sameModel(&p.keys):
		if r.keys.serial != "" && r.keys.serial == p.keys.serial {
			return levelInstance
		}
		return levelModel
	case r.keys.model == "" && r.keys.serial != "" && r.keys.serial == p.keys.serial:
		return levelInstance
	case r.ref.Class == I2C && (r.keys.model == "" || p.keys.model == "") && r.place == p.place && r.place != "":
		return levelModel // a client answers there as declared; whether a driver binds it is the system's doing
	case r.ref.Class == PCI && (r.keys.model == "" || p.keys.model == "") && r.place == p.place && r.place != "":
		return levelModel // a listing in words, which has no ids; told as not checked
	case r.keys.model == "" && p.keys.model == "" && (r.place == p.place && r.place != "" || interchangeable(r.ref.Class)) &&
		(r.keys.maker == "" || p.keys.maker == "" || r.keys.maker == p.keys.maker):
		return levelModel // the part cannot say more than where it sits, and sockets may be filled in any order
	}
	if r.alternate(p) >= 0 {
		return levelAlternate
	}
	if r.keys.family != "" && r.keys.family == p.keys.family {
		return levelFamily
	}
	return levelClass
}
