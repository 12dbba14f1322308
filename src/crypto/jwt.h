// Tokens that this process signs and later verifies (JWT with ES256): service-account tokens. Immutable; thread safe.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::crypto {

class JwtKey {
 public:
  static Result<JwtKey> generate();
  // From pem(). Errors: invalid_argument when it is no P-256 key.
  static Result<JwtKey> from_pem(std::string_view private_key_pem);
  [[nodiscard]] std::string pem() const;  // the private key
  [[nodiscard]] const std::string& id() const;
  // `claims` is the text of a JSON object, signed as it is.
  [[nodiscard]] Result<std::string> sign(std::string_view claims) const;
  // The claims' text of a token that sign() of this key made; unauthenticated for any other. Times (exp, nbf) and
  // audience are the caller's to check.
  [[nodiscard]] Result<std::string> verify(std::string_view token) const;
  // The public key as a JSON Web Key Set.
  [[nodiscard]] std::string jwks() const;

 private:
  struct Impl;
  explicit JwtKey(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace mr::crypto
