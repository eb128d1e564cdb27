package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// dockerConfig is what is read of docker's config.json.
// https://docs.docker.com/reference/cli/docker/login/
type dockerConfig struct {
	Auths map[string]struct {
		Auth, Username, Password string
		IdentityToken            string `json:"identitytoken"`
	} `json:"auths"`
	Store   string            `json:"credsStore"`
	Helpers map[string]string `json:"credHelpers"`
}

// hubKey is Docker Hub's in config.json.
const hubKey = "https://index.docker.io/v1/"

// Docker finds a registry's credentials as docker does: in the folder that
// DOCKER_CONFIG names or ~/.docker, or by the program that is named there.
func Docker(host string) Login {
	return func(ctx context.Context, _ bool) (Credentials, error) {
		dir := os.Getenv("DOCKER_CONFIG")
		if dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return Credentials{}, nil //nolint:nilerr // without a home there are no credentials
			}
			dir = filepath.Join(home, ".docker")
		}
		name := filepath.Join(dir, "config.json")
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return Credentials{}, nil
		}
		if err != nil {
			return Credentials{}, fmt.Errorf("read docker's credentials: %w", err)
		}
		var c dockerConfig
		if json.Unmarshal(text, &c) != nil {
			return Credentials{}, fmt.Errorf("read docker's credentials: %s is not the JSON that docker writes", name)
		}
		return c.find(ctx, host)
	}
}

func (c *dockerConfig) find(ctx context.Context, host string) (Credentials, error) {
	keys := []string{host, "https://" + host, "https://" + host + "/", "http://" + host}
	switch host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		keys = append(keys, hubKey, "docker.io")
	}
	for _, key := range keys {
		if helper := c.Helpers[key]; helper != "" {
			return ask(ctx, helper, key)
		}
	}
	for _, key := range keys {
		a, ok := c.Auths[key]
		if !ok {
			continue
		}
		out := Credentials{User: a.Username, Password: a.Password, Identity: a.IdentityToken}
		if a.Auth != "" {
			pair, err := base64.StdEncoding.DecodeString(a.Auth)
			user, password, ok := strings.Cut(string(pair), ":")
			if err != nil || !ok {
				return Credentials{}, errors.New("read docker's credentials: what stands there for " + key + " is not what docker writes")
			}
			out.User, out.Password = user, strings.TrimRight(password, "\x00")
		}
		if out != (Credentials{}) {
			return out, nil
		}
	}
	if c.Store == "" {
		return Credentials{}, nil
	}
	for _, key := range keys {
		if out, err := ask(ctx, c.Store, key); err != nil || out != (Credentials{}) {
			return out, err
		}
	}
	return Credentials{}, nil
}

var helperForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)

// ask asks one of docker's credential helpers.
// https://github.com/docker/docker-credential-helpers
func ask(ctx context.Context, helper, key string) (Credentials, error) {
	if !helperForm.MatchString(helper) {
		return Credentials{}, fmt.Errorf("read docker's credentials: %q is no name of a credential helper", helper)
	}
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, "get")
	cmd.Stdin = strings.NewReader(key)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	err := cmd.Run()
	if err != nil {
		if strings.Contains(stdout.String(), "credentials not found") {
			return Credentials{}, nil
		}
		// What it printed may be a secret.
		return Credentials{}, fmt.Errorf("ask docker-credential-%s for %s: %w", helper, key, err)
	}
	var said struct{ Username, Secret string }
	if json.Unmarshal(stdout.Bytes(), &said) != nil {
		return Credentials{}, fmt.Errorf("docker-credential-%s answers with what is no credential", helper)
	}
	if said.Username == "<token>" {
		return Credentials{Identity: said.Secret}, nil
	}
	return Credentials{User: said.Username, Password: said.Secret}, nil
}
