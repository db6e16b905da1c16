package sqldb

import (
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

// PutFacts replaces the facts of a machine.
func (s *Session) PutFacts(host string, facts []fleet.Fact) error {
	if _, err := s.exec(`DELETE FROM fact WHERE host = $1`, host); err != nil {
		return fmt.Errorf("facts of %s: %w", host, err)
	}
	for _, f := range facts {
		if _, err := s.exec(`INSERT INTO fact (kind, value, host) VALUES ($1, $2, $3) ON CONFLICT (kind, value, host) DO NOTHING`, f.Kind, f.Value, host); err != nil {
			return fmt.Errorf("facts of %s: %w", host, err)
		}
	}
	return nil
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
	}, `SELECT id, name, hosts FROM profile WHERE id > $1 AND hosts > 0 ORDER BY id LIMIT $2`, after, limit(n, 10_000))
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
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
	}, `SELECT feature, hosts FROM feature WHERE profile = $1 AND hosts > 0 ORDER BY hosts, feature`, profile)
	if err != nil {
		return nil, fmt.Errorf("features of %s: %w", profile, err)
	}
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

// PutFeatures replaces what a machine has, and keeps the counts of its profile,
// and of the one that it leaves. What did not change costs a read. Counts are
// touched in one order, so that two transactions do not wait for each other.
func (s *Session) PutFeatures(host string, p fleet.Profile, keys []string) error {
	before, err := s.profileOf(host)
	if err != nil {
		return err
	}
	old, err := s.HostFeatures(host)
	if err != nil {
		return err
	}
	fresh := slices.Compact(slices.Sorted(slices.Values(keys)))
	if before != "" && before != p.ID {
		if err := s.recount(host, before, old, -1); err != nil {
			return err
		}
		before, old = "", nil
	}
	if before == "" && len(fresh) > 0 {
		if _, err := s.exec(`INSERT INTO profile (id, name, hosts) VALUES ($1, $2, 1) ON CONFLICT (id) DO UPDATE SET hosts = profile.hosts + 1, name = excluded.name`, p.ID, p.Name); err != nil {
			return fmt.Errorf("profile %s: %w", p.ID, err)
		}
	}
	var gone, came []string
	for _, k := range old {
		if _, ok := slices.BinarySearch(fresh, k); !ok {
			gone = append(gone, k)
		}
	}
	for _, k := range fresh {
		if !slices.Contains(old, k) {
			came = append(came, k)
		}
	}
	if err := s.features(host, p.ID, gone, -1); err != nil {
		return err
	}
	return s.features(host, p.ID, came, +1)
}

func (s *Session) profileOf(host string) (profile string, err error) {
	err = s.query(func(r Rows) error { return r.Scan(&profile) }, `SELECT profile FROM host_feature WHERE host = $1 LIMIT 1`, host)
	if err != nil {
		return "", fmt.Errorf("features of %s: %w", host, err)
	}
	return profile, nil
}

func (s *Session) recount(host, profile string, keys []string, by int) error {
	if _, err := s.exec(`UPDATE profile SET hosts = hosts + $1 WHERE id = $2`, by, profile); err != nil {
		return fmt.Errorf("profile %s: %w", profile, err)
	}
	return s.features(host, profile, keys, by)
}

func (s *Session) features(host, profile string, keys []string, by int) error {
	for _, k := range keys {
		sql := `INSERT INTO host_feature (profile, feature, host) VALUES ($1, $2, $3)`
		if by < 0 {
			sql = `DELETE FROM host_feature WHERE profile = $1 AND feature = $2 AND host = $3`
		}
		_, err := s.exec(sql, profile, k, host)
		if err == nil {
			_, err = s.exec(`INSERT INTO feature (profile, feature, hosts) VALUES ($1, $2, $3) ON CONFLICT (profile, feature) DO UPDATE SET hosts = feature.hosts + excluded.hosts`, profile, k, by)
		}
		if err != nil {
			return fmt.Errorf("features of %s: %w", host, err)
		}
	}
	return nil
}
