package attest

import "github.com/assay-hw/assay/internal/strictjson"

// plainRegisters reads values by bank and register; ok is false when another reader
// has to say what they are, or what is wrong with them.
func plainRegisters(b []byte) (out RegisterValues, ok bool) {
	p := strictjson.NewPlain(b)
	out, seen := RegisterValues{}, 0
	p.Object(func(bank string) {
		p.Object(func(pcr string) {
			value := p.Text()
			a, err := bankNamed(bank, value)
			if err != nil || out.set(a, pcr, value) != nil {
				p.Refuse()
			}
			seen++
		})
	})
	for _, bank := range out {
		seen -= len(bank)
	}
	return out, p.Ended() && seen == 0 // no register twice
}
