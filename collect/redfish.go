package collect

import "errors"

// Redfish is a management controller to ask over the network.
type Redfish struct{ URL, User, Password, Pin string }

func (r *Redfish) check() error {
	if r.URL == "" {
		return errors.New("x")
	}
	return nil
}

func redfish(*task) {}
