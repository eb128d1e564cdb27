// Command program is what the images of the sample bundle run: it answers on port
// 8080 with the name that its environment gives it, and with TLS at TLS_ADDRESS, if that
// is set, by a certificate of its own that load balancers take.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"time"
)

func main() {
	address := os.Getenv("ADDRESS")
	if address == "" {
		address = ":8080"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, os.Getenv("NAME")) })
	fmt.Printf("answers on %s as %s\n", address, os.Getenv("NAME"))
	ended := make(chan error)
	serve := func(at string, certificates []tls.Certificate) {
		server := &http.Server{Addr: at, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		if certificates == nil {
			ended <- server.ListenAndServe()
			return
		}
		server.TLSConfig = &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS12}
		ended <- server.ListenAndServeTLS("", "")
	}
	go serve(address, nil)
	if at := os.Getenv("TLS_ADDRESS"); at != "" {
		own, err := certificate()
		if err != nil {
			end(err)
		}
		go serve(at, []tls.Certificate{own})
	}
	end(<-ended)
}

func end(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}

// certificate is one that nobody has signed but its own key.
func certificate() (tls.Certificate, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	own := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0), DNSNames: []string{"sample"}}
	der, err2 := x509.CreateCertificate(rand.Reader, own, own, public, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, errors.Join(err, err2)
}
