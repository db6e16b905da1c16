package manifest

import (
	"slices"
	"strings"
	"unicode"
)

// legalForms are endings of company names that say nothing about who it is.
var legalForms = []string{
	"inc", "incorporated", "corp", "corporation", "co", "company", "ltd", "limited", "llc", "plc", "lp",
	"gmbh", "mbh", "ag", "kg", "se", "sa", "sas", "sarl", "srl", "spa", "bv", "nv", "ab", "as", "oy", "oyj", "aps",
	"kk", "kabushiki", "kaisha", "pte", "pty", "sdn", "bhd",
}

var (
	insideWords = strings.NewReplacer(".", "", "'", "")
	pairs       = strings.NewReplacer("rn", "m", "vv", "w", "cl", "d") // letters that look like another one together
)

// organization reduces a company name to what identifies it: letters and
// digits in lower case, without legal forms at the end. Two empty results
// never count as equal.
func organization(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '\'' && r != '*'
	})
	for i, w := range words {
		words[i] = insideWords.Replace(w) // S.p.A. is one word
	}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	for len(words) > 1 && slices.Contains(legalForms, words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	return strings.Join(words, "")
}

func sameOrganization(a, b string) bool {
	x, y := organization(a), organization(b)
	return x != "" && x == y
}

// scripts whose letters look like those of another one. Text in one word mixes
// them only to deceive.
var scripts = []struct {
	name  string
	table *unicode.RangeTable
}{
	{"Latin", unicode.Latin},
	{"Cyrillic", unicode.Cyrillic},
	{"Greek", unicode.Greek},
	{"Armenian", unicode.Armenian},
	{"Cherokee", unicode.Cherokee},
	{"Coptic", unicode.Coptic},
	{"Georgian", unicode.Georgian},
	{"Hebrew", unicode.Hebrew},
	{"Arabic", unicode.Arabic},
	{"Lisu", unicode.Lisu},
}

// suspicious says what is wrong with an identity string, or "". The rules are
// those of Unicode TR39 that matter for short names.
func suspicious(s string) string {
	if strings.TrimFunc(s, unicode.IsSpace) != s {
		return "begins or ends with white space"
	}
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
			return "holds an invisible or direction-changing character"
		case unicode.IsControl(r):
			return "holds a control character"
		case r != ' ' && unicode.IsSpace(r):
			return "holds an unusual space"
		case unicode.Is(unicode.Co, r), r == unicode.ReplacementChar:
			return "holds a character without a meaning"
		}
	}
	for word := range strings.FieldsSeq(s) {
		if a, b := twoScripts(word); b != "" {
			return "mixes " + a + " and " + b + " letters in one word"
		}
	}
	return ""
}

func twoScripts(word string) (a, b string) {
	for _, r := range word {
		for _, sc := range scripts {
			if !unicode.Is(sc.table, r) || sc.name == a {
				continue
			}
			if a != "" {
				return a, sc.name
			}
			a = sc.name
		}
	}
	return a, ""
}

// lookalikes maps letters of other scripts, and digits, to the Latin letter
// they are read as.
var lookalikes = map[rune]rune{
	'0': 'o', '1': 'l', 'i': 'l', '|': 'l', '!': 'l', '5': 's', '$': 's', '3': 'e', '@': 'a',
	'а': 'a', 'е': 'e', 'о': 'o', 'р': 'p', 'с': 'c', 'х': 'x', 'у': 'y', 'і': 'l', 'ј': 'j', 'ѕ': 's', 'к': 'k', 'м': 'm', 'т': 't', 'н': 'h', 'в': 'b', 'ԁ': 'd', 'ԛ': 'q', 'ԝ': 'w', 'һ': 'h', 'ӏ': 'l',
	'α': 'a', 'ε': 'e', 'ο': 'o', 'ρ': 'p', 'τ': 't', 'υ': 'u', 'ν': 'v', 'κ': 'k', 'ι': 'l', 'χ': 'x', 'η': 'n', 'γ': 'y', 'ω': 'w',
	'ı': 'l', 'ɡ': 'g', 'ո': 'n', 'ս': 'u', 'օ': 'o',
}

// skeleton reduces a name to how it looks.
func skeleton(s string) string {
	var b strings.Builder
	for _, r := range organization(s) {
		if l, ok := lookalikes[r]; ok {
			r = l
		}
		b.WriteRune(r)
	}
	return pairs.Replace(b.String())
}

// makers are names worth imitating.
var makers = []string{
	"AMD", "Advanced Micro Devices", "American Megatrends", "AMI", "Ampere", "ASPEED", "ASRock", "ASUS", "Broadcom", "Cisco", "Crucial",
	"Dell", "Foxconn", "Fujitsu", "Gigabyte", "Hewlett Packard Enterprise", "HPE", "Huawei", "IBM", "Infineon", "Insyde", "Intel", "Inspur",
	"Kingston", "Kioxia", "Lenovo", "Marvell", "Mellanox", "Micron", "Nuvoton", "NVIDIA", "Phoenix", "QLogic", "Quanta", "Realtek", "Samsung",
	"Seagate", "SK hynix", "Solidigm", "STMicroelectronics", "Supermicro", "Toshiba", "Tyan", "Western Digital", "Wiwynn", "Xilinx",
}

// makersLike maps how a name looks to the makers that look like it. A manifest
// may hold very many names, so that each is looked up and not compared with all.
var makersLike = func() map[string][]string {
	out := map[string][]string{}
	for _, m := range makers {
		out[skeleton(m)] = append(out[skeleton(m)], m)
	}
	return out
}()

// imitates returns the well-known maker that a name looks like without being
// it, or "".
func imitates(name string) string {
	o := organization(name)
	if o == "" {
		return ""
	}
	for _, m := range makersLike[skeleton(name)] {
		if organization(m) != o {
			return m
		}
	}
	return ""
}
