package efficacy

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/internal/tpmwire"
)

// tpmVerbs change what the TPM is, what it was given and what it signs.
func tpmVerbs() map[string]verb {
	return map[string]verb{
		"tpm-saw":       {"c", 1, false, "recording|MACHINE: the TPM was given the log as it was before, or that of a recording", (*scene).tpmSaw},
		"tpm-other":     {"bc", 1, false, "swapped|unknown|relayed|foreign-key: another TPM of a known maker; one that no maker certified; this one's certificates with the keys of another; the keys of another with its certificates left out", (*scene).tpmOther},
		"tpm-capped":    {"c", 1, true, "BANK...: firmware never extended these banks", (*scene).tpmCapped},
		"tpm-age":       {"c", 1, false, "MILLISECONDS: how long the TPM says that it runs; 0 signs no time", (*scene).tpmAge},
		"tpm-clock":     {"bc", 3, false, "MILLISECONDS RESETS RESTARTS", (*scene).tpmClock},
		"tpm-restarted": {"c", 0, false, ": the TPM was restarted between two quotes", func(s *scene, _ []string) error { s.restarted = true; return nil }},
		"quote-pcrs":    {"c", 0, true, "NUMBER...: the registers that are quoted", (*scene).quotePCRs},
		"quote-banks":   {"bc", 1, true, "BANK...: the banks that are quoted", (*scene).quoteBanks},
		"quote-nonce":   {"c", 1, false, "TEXT: the collector was given this nonce; the verifier asked with another one", func(s *scene, a []string) error { s.quoted = []byte(a[0]); return nil }},
		"unsealed":      {"bc", 0, false, ": there is no index, and the quote is over the nonce alone", func(s *scene, _ []string) error { s.unsealed = true; return nil }},
	}
}

func (s *scene) tpmSaw(a []string) error {
	from := s.vector.Machine
	if a[0] != "recording" {
		from = a[0]
	} else if ref, err := s.bench.reference(s.vector); err == nil {
		s.saw = ref.files[logAt]
		return nil
	}
	f, err := s.bench.recording(from)
	s.saw = f[logAt]
	return err
}

func (s *scene) tpmOther(a []string) error {
	maker := s.bench.maker
	if a[0] == "unknown" {
		maker = s.bench.stranger
	}
	t, err := s.bench.tpm(a[0]+" of "+s.vector.Machine, maker)
	if err != nil {
		return err
	}
	own, err := s.bench.tpm(s.vector.Machine, s.bench.maker)
	if err != nil {
		return err
	}
	s.tpm = t
	switch a[0] {
	case "swapped", "unknown":
	case "relayed": // the endorsement is what the machine shows, the signing key is elsewhere
		for p, b := range own.Files() {
			if p != "tpm/ak.pub" {
				s.files[p] = b
			}
		}
	case "foreign-key":
		for p, b := range own.Files() {
			if strings.HasPrefix(p, "tpm/ek-") {
				s.files[p] = b
			}
		}
	default:
		return fmt.Errorf("unknown kind %s", a[0])
	}
	return nil
}

func bank(name string) (tpmwire.Algorithm, error) {
	for _, b := range []tpmwire.Algorithm{tpmwire.SHA1, tpmwire.SHA256, tpmwire.SHA384, tpmwire.SHA512} {
		if b.String() == name {
			return b, nil
		}
	}
	return 0, fmt.Errorf("unknown bank %s", name)
}

func (s *scene) tpmCapped(a []string) error {
	for _, n := range a {
		b, err := bank(n)
		if err != nil {
			return err
		}
		s.capped[b] = true
	}
	return nil
}

func (s *scene) tpmAge(a []string) (err error) {
	s.age, err = strconv.ParseUint(a[0], 10, 64)
	return err
}

func (s *scene) tpmClock(a []string) error {
	var n [3]uint64
	for i, x := range a {
		v, err := strconv.ParseUint(x, 10, 63)
		if err != nil {
			return err
		}
		n[i] = v
	}
	s.clock.Milliseconds, s.clock.Resets, s.clock.Restarts = n[0], uint32(n[1]), uint32(n[2])
	return nil
}

func (s *scene) quotePCRs(a []string) error {
	s.selection = 0
	for _, x := range a {
		n, err := strconv.ParseUint(x, 10, 5)
		if err != nil || n > 23 {
			return fmt.Errorf("register %s", x)
		}
		s.selection |= 1 << n
	}
	return nil
}

func (s *scene) quoteBanks(a []string) error {
	s.banks = []tpmwire.Algorithm{}
	for _, n := range a {
		b, err := bank(n)
		if err != nil {
			return err
		}
		s.banks = append(s.banks, b)
	}
	return nil
}

// unrestricted clears the attribute that keeps a key from signing what a TPM did
// not make (TPM 2.0 Library Part 2, 8.3).
func unrestricted(public []byte) {
	const restricted = 1 << 16
	v := binary.BigEndian.Uint32(public[6:])
	binary.BigEndian.PutUint32(public[6:], v&^restricted)
}
