// Who asks, and whether they may: users from client certificates and tokens, decisions by RBAC objects in the store.
// Thread safe.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "crypto/jwt.h"
#include "kube/object.h"
#include "kube/store.h"

namespace mr::kube {

struct User {
  std::string name, uid;
  std::vector<std::string> groups;
  [[nodiscard]] bool in(std::string_view group) const;
};
// The program itself: every controller and the node.
User system_user();
User anonymous_user();

// What is asked for. A resource request has `resource`; another one has `path`.
struct Attributes {
  std::string verb;  // get list watch create update patch delete deletecollection; of a path: get, post...
  std::string group, resource, subresource, ns, name;
  std::string path;
};
struct Decision {
  bool allowed = false;
  std::string reason;  // "RBAC: allowed by RoleBinding …", or why it could not be decided
};

class Authorizer {
 public:
  explicit Authorizer(const Store& store) : store_(store) {}
  [[nodiscard]] Decision decide(const User& user, const Attributes& a) const;
  // Rules that apply to a user in a namespace, for SelfSubjectRulesReview: PolicyRule objects.
  [[nodiscard]] Array rules(const User& user, const std::string& ns) const;

 private:
  const Store& store_;
};

// Bearer tokens: service account tokens are JWTs signed with the platform's key; static ones come from the data folder.
class Tokens {
 public:
  // `issuer`: the iss claim, and the audience of tokens that name none.
  Tokens(const Store& store, crypto::JwtKey key, std::string issuer);
  // A static token (the admin token) of a user.
  void add_static(std::string token, User user);
  // A service account's token. `audiences` empty: the API's own. `pod`: bound object, may be null.
  struct Issued {
    std::string token;
    std::int64_t expires_unix = 0;
  };
  [[nodiscard]] Result<Issued> issue(const Object& service_account, const std::vector<std::string>& audiences,
                                     std::int64_t seconds, const Object* pod) const;
  // The user of a token, or nullopt: unknown, expired, forged, of a deleted account, of another audience.
  // `audiences` empty: the API's own; receives those of the token that were asked for.
  [[nodiscard]] std::optional<User> verify(std::string_view token, std::vector<std::string>& audiences) const;
  [[nodiscard]] const std::string& issuer() const { return issuer_; }
  [[nodiscard]] std::string jwks() const { return key_.jwks(); }

 private:
  const Store& store_;
  crypto::JwtKey key_;
  std::string issuer_;
  std::vector<std::pair<std::string, User>> fixed_;
};

}  // namespace mr::kube
