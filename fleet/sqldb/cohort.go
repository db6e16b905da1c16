package sqldb

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/fleet"
)

// Sharing lists the machines that have a fact.
func (s *Session) Sharing(kind, value string, n int) ([]fleet.Fact, error) {
	return s.facts(`SELECT kind, value, host FROM fact WHERE kind = $1 AND value = $2 ORDER BY host LIMIT $3`, kind, value, limit(n, 1000))
}

// Facts lists what a machine alone may have.
func (s *Session) Facts(host string) ([]fleet.Fact, error) {
	return s.facts(`SELECT kind, value, host FROM fact WHERE host = $1 ORDER BY kind, value`, host)
}

func (s *Session) facts(sql string, args ...any) ([]fleet.Fact, error) {
	out := []fleet.Fact{}
	err := s.query(func(r Rows) error {
		var f fleet.Fact
		err := r.Scan(&f.Kind, &f.Value, &f.Host)
		out = append(out, f)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("facts: %w", err)
	}
	return out, nil
}

// PutFacts replaces the facts of a machine. What did not change costs a read.
func (s *Session) PutFacts(host string, facts []fleet.Fact) error {
	old, err := s.Facts(host)
	if err != nil {
		return err
	}
	var gone, came [][]any
	want := map[fleet.Fact]bool{}
	for _, f := range facts {
		f.Host = host
		if !want[f] && !slices.Contains(old, f) {
			came = append(came, []any{f.Kind, f.Value, host})
		}
		want[f] = true
	}
	for _, f := range old {
		if !want[f] {
			gone = append(gone, []any{f.Kind, f.Value, host})
		}
	}
	err = s.many(`DELETE FROM fact WHERE (kind, value, host) IN (VALUES `, gone, `)`)
	if err == nil {
		err = s.many(`INSERT INTO fact (kind, value, host) VALUES `, came, ` ON CONFLICT (kind, value, host) DO NOTHING`)
	}
	if err != nil {
		return fmt.Errorf("facts of %s: %w", host, err)
	}
	return nil
}

// Shared lists the facts of a machine that another one has too.
func (s *Session) Shared(host string) ([]fleet.Fact, error) {
	return s.facts(`SELECT kind, value, host FROM fact WHERE host = $1 AND EXISTS
		(SELECT 1 FROM fact other WHERE other.kind = fact.kind AND other.value = fact.value AND other.host <> fact.host) ORDER BY kind, value`, host)
}

// Profiles lists a page of the kinds of machines.
func (s *Session) Profiles(after string, n int) ([]fleet.Profile, error) {
	out := []fleet.Profile{}
	err := s.query(func(r Rows) error {
		var p fleet.Profile
		var hosts int64
		err := r.Scan(&p.ID, &p.Name, &hosts)
		p.Hosts = int(hosts)
		out = append(out, p)
		return err
	}, `SELECT id, name, hosts FROM profile WHERE id > $1 AND hosts > 0 AND id NOT LIKE '%@%' ORDER BY id LIMIT $2`, after, limit(n, 10_000))
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	return out, nil
}

// Profile finds a kind of machines.
func (s *Session) Profile(id string) (*fleet.Profile, error) {
	var out *fleet.Profile
	err := s.query(func(r Rows) error {
		out = &fleet.Profile{ID: id}
		var hosts int64
		err := r.Scan(&out.Name, &hosts)
		out.Hosts = int(hosts) + s.counts.profiles[id].hosts
		return err
	}, `SELECT name, hosts FROM profile WHERE id = $1`, id)
	if n, ok := s.counts.profiles[id]; ok && out == nil && err == nil {
		out = &fleet.Profile{ID: id, Name: n.name, Hosts: n.hosts}
	}
	if err == nil && out == nil {
		err = fleet.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", id, err)
	}
	return out, nil
}

// Features lists what machines of a profile have, the rarest first.
func (s *Session) Features(profile string) ([]fleet.Feature, error) {
	out := []fleet.Feature{}
	err := s.query(func(r Rows) error {
		f := fleet.Feature{Profile: profile}
		var hosts int64
		err := r.Scan(&f.Key, &hosts)
		f.Hosts = int(hosts)
		out = append(out, f)
		return err
	}, `SELECT feature, hosts FROM feature WHERE profile = $1 ORDER BY feature`, profile)
	if err != nil {
		return nil, fmt.Errorf("features of %s: %w", profile, err)
	}
	out = s.counts.on(profile, out)
	slices.SortFunc(out, func(a, b fleet.Feature) int { return cmp.Or(cmp.Compare(a.Hosts, b.Hosts), cmp.Compare(a.Key, b.Key)) })
	return out, nil
}

// HostFeatures lists what a machine has.
func (s *Session) HostFeatures(host string) ([]string, error) {
	return s.texts(`SELECT feature FROM host_feature WHERE host = $1 ORDER BY feature`, host)
}

// HostsWith lists machines of a profile that have a feature.
func (s *Session) HostsWith(profile, feature string, n int) ([]string, error) {
	return s.texts(`SELECT host FROM host_feature WHERE profile = $1 AND feature = $2 ORDER BY host LIMIT $3`, profile, feature, limit(n, 10_000))
}

func (s *Session) texts(sql string, args ...any) ([]string, error) {
	out := []string{}
	err := s.query(func(r Rows) error {
		var v string
		err := r.Scan(&v)
		out = append(out, v)
		return err
	}, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return out, nil
}

// inLot is under which id the counts of one lot of a profile are kept.
func inLot(profile, lot string) string { return profile + "@" + lot }

// PutFeatures replaces what a machine has, and keeps the counts of its profile and
// its lot, and of those that it leaves. What did not change costs a read.
func (s *Session) PutFeatures(host string, p fleet.Profile, keys []string) error {
	before, lot, old, err := s.had(host)
	if err != nil {
		return err
	}
	fresh := slices.Compact(slices.Sorted(slices.Values(keys)))
	moved := before != p.ID || lot != p.Lot
	if before != "" && (moved || len(fresh) == 0) {
		s.member(before, "", lot, -1)
	}
	if len(fresh) > 0 && (moved || before == "") {
		s.member(p.ID, p.Name, p.Lot, +1)
	}
	var gone, came [][]any
	for _, k := range old {
		if _, ok := slices.BinarySearch(fresh, k); !ok || moved {
			s.has(before, lot, k, -1)
			gone = append(gone, []any{host, k})
		}
	}
	for _, k := range fresh {
		if !slices.Contains(old, k) || moved {
			s.has(p.ID, p.Lot, k, +1)
			came = append(came, []any{p.ID, k, host, p.Lot})
		}
	}
	err = s.many(`DELETE FROM host_feature WHERE (host, feature) IN (VALUES `, gone, `)`)
	if err == nil {
		err = s.many(`INSERT INTO host_feature (profile, feature, host, lot) VALUES `, came, ``)
	}
	if err != nil {
		return fmt.Errorf("features of %s: %w", host, err)
	}
	return nil
}

func (s *Session) member(profile, name, lot string, by int) {
	s.counts.profile(profile, name, by)
	if lot != "" {
		s.counts.profile(inLot(profile, lot), name, by)
	}
}

func (s *Session) has(profile, lot, feature string, by int) {
	s.counts.feature(profile, feature, by)
	if lot != "" {
		s.counts.feature(inLot(profile, lot), feature, by)
	}
}

// Lot is one lot of a profile, and what its machines have.
func (s *Session) Lot(profile, lot string) (*fleet.Profile, []fleet.Feature, error) {
	p, err := s.Profile(inLot(profile, lot))
	if err != nil {
		return nil, nil, err
	}
	fs, err := s.Features(p.ID)
	p.Lot = lot
	return p, fs, err
}

// had is the profile and the lot of a machine, and what it has.
func (s *Session) had(host string) (profile, lot string, features []string, err error) {
	err = s.query(func(r Rows) error {
		var f string
		err := r.Scan(&profile, &lot, &f)
		features = append(features, f)
		return err
	}, `SELECT profile, lot, feature FROM host_feature WHERE host = $1`, host)
	if err != nil {
		return "", "", nil, fmt.Errorf("features of %s: %w", host, err)
	}
	return profile, lot, features, nil
}
