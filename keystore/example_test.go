package keystore_test

import (
	"context"
	"fmt"

	"github.com/assay-hw/assay/keystore"
)

// The name of a key says where it is; keys in hardware stay there.
func ExampleOpen() {
	key, err := keystore.Open(context.Background(), "../testdata/keys/vendor.key", keystore.Options{})
	fmt.Printf("%T %v\n", key.Public(), err)
	_, err = keystore.Open(context.Background(), "tpmkey:file=x", keystore.Options{})
	fmt.Println(err)
	// Output:
	// *ecdsa.PublicKey <nil>
	// key tpmkey:file=x: write it as tpm:file=FILE or tpm:handle=0x81000001
}
