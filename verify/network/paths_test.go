package network

import (
	"testing"
)

func TestOpenPolicy(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]bool{
		`{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*"}]}`:                                                                       true,
		`{"Statement":{"Action":["s3:Get*","*"],"Effect":"Allow","Principal":{"AWS":"*"},"Resource":"*"}}`:                                                     true,
		`%7B%22Statement%22%3A%5B%7B%22Action%22%3A%22%2A%22%2C%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D`: true,
		`{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"123456789012"}}}]}`:  false,
		`{"Statement":[{"Action":"s3:GetObject","Effect":"Allow","Principal":"*","Resource":"*"}]}`:                                                            false,
		`{"Statement":[{"Action":"*","Effect":"Deny","Principal":"*","Resource":"*"}]}`:                                                                        false,
		`{"Statement":[{"Action":"*","Effect":"Allow","Principal":"*","Resource":"arn:aws:s3:::bucket/*"}]}`:                                                   false,
	} {
		if got, err := openPolicy(document); got != want || err != nil {
			t.Errorf("%s: %t, %v, want %t", document, got, err, want)
		}
	}
	if _, err := openPolicy("{"); err == nil {
		t.Error("what is no policy is taken")
	}
}
