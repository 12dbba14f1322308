// A certificate authority of our own: makes it, issues server and client certificates (ECDSA P-256), all as PEM text.
// Free functions, thread safe. Private keys never go to a log; files that hold them have mode 0600.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::crypto {

struct KeyPair {
  std::string certificate_pem;
  std::string key_pem;
};

struct CertificateSpec {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;  // with one of these or an address: a server's certificate, else a client's
  std::vector<std::string> addresses;  // IPv4 or IPv6
  int days = 365;
};

// A self-signed authority that may issue but has no authorities below it. Valid for ten years.
Result<KeyPair> make_authority(const std::string& common_name);
// Signed by `authority`. Errors: invalid_argument for a name or address that no certificate can have.
Result<KeyPair> issue_certificate(const KeyPair& authority, const CertificateSpec& spec);

struct CertificateInfo {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> addresses;
  std::int64_t not_after = 0;  // seconds since 1970
};
Result<CertificateInfo> read_certificate(std::string_view pem);

// PREFIX.crt and PREFIX.key as they are, or made by `make` and written first. A pair of which one file is missing is
// an error: to replace a key silently would lock out whoever holds its certificate.
Result<KeyPair> load_or_make_pair(const std::string& prefix, const std::function<Result<KeyPair>()>& make);
// Replaces the file in one step; mode 0600.
Result<void> write_private_file(const std::string& path, std::string_view text);

}  // namespace mr::crypto
