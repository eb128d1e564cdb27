// Command app is what containers of tests run.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	switch what {
	case "serve":
		return serve()
	case "exit":
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		fmt.Println(strings.Join(args[1:], " "))
		if err := os.WriteFile("/dev/termination-log", []byte("ended with "+args[0]), 0o600); err != nil {
			return err
		}
		os.Exit(code)
	case "write":
		return os.WriteFile(args[0], []byte(args[1]), 0o644)
	case "cat":
		text, err := os.ReadFile(args[0])
		fmt.Print(string(text))
		return err
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "copy":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "get":
		return get(args[0], args[1:]...)
	case "id":
		groups, err := os.Getgroups()
		fmt.Println(os.Getuid(), os.Getgid(), groups, os.Getpid())
		return err
	}
	return nil
}

// get asks a URL, whose certificate is to be signed by a file's, with the token of
// another file.
func get(url string, files ...string) error {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if len(files) > 0 {
		text, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		roots.AppendCertsFromPEM(text)
	}
	if len(files) > 1 {
		text, err := os.ReadFile(files[1])
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+string(text))
	}
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	res, err := (&http.Client{Transport: way, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	fmt.Println(res.StatusCode, string(text))
	return err
}

// serve answers until SIGTERM: who asks for /ready gets what the file of the
// variable READY says.
func serve() error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if text, err := os.ReadFile(os.Getenv("READY")); err != nil || string(text) != "yes" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s asks %s", r.UserAgent(), r.Host) })
	go func() {
		fmt.Println("serving")
		fmt.Println(http.ListenAndServe(":8080", nil))
	}()
	<-ended
	fmt.Println("told to end")
	return nil
}
