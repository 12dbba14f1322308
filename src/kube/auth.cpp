#include "kube/auth.h"

#include "crypto/random.h"
#include "json/parse.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr const char* kRbac = "rbac.authorization.k8s.io";

bool has(const Array& list, std::string_view value) {
  return std::ranges::any_of(
      list, [&](const Value& v) { return v.is_string() && (v.get_string() == value || v.get_string() == "*"); });
}

bool rule_allows(const Object& rule, const Attributes& a) {
  if (!has(array_at(rule, "verbs"), a.verb)) return false;
  if (!a.path.empty()) {
    for (const auto& u : array_at(rule, "nonResourceURLs")) {
      if (!u.is_string()) continue;
      std::string_view url = u.get_string();
      if (url == a.path || url == "*") return true;
      if (url.ends_with('*') && std::string_view(a.path).starts_with(url.substr(0, url.size() - 1))) return true;
    }
    return false;
  }
  if (!has(array_at(rule, "apiGroups"), a.group)) return false;
  auto combined = a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
  bool resource = false;
  for (const auto& r : array_at(rule, "resources")) {
    if (!r.is_string()) continue;
    std::string_view text = r.get_string();
    if (text == "*" || text == combined || (!a.subresource.empty() && text == "*/" + a.subresource)) resource = true;
  }
  if (!resource) return false;
  const auto& names = array_at(rule, "resourceNames");
  if (names.empty()) return true;
  return std::ranges::any_of(names, [&](const Value& v) { return v.is_string() && v.get_string() == a.name; });
}

bool subject_is(const Object& subject, const User& user, std::string_view binding_ns) {
  auto kind = text_at(subject, "kind");
  auto name = text_at(subject, "name");
  if (kind == "User") return name == user.name;
  if (kind == "Group") return user.in(name);
  if (kind == "ServiceAccount") {
    auto ns = text_at(subject, "namespace", binding_ns);
    return user.name == fmt::format("system:serviceaccount:{}:{}", ns, name);
  }
  return false;
}

// The rules that a binding gives; an aggregated ClusterRole has those of the roles that its selectors choose.
void append_rules(const Store& store, const Object& binding, std::string_view ns, std::vector<Object>& out) {
  auto kind = text_at(binding, "roleRef.kind");
  std::string name(text_at(binding, "roleRef.name"));
  auto role = kind == "Role" ? store.get(std::string("roles.") + kRbac, {std::string(ns), name})
                             : store.get(std::string("clusterroles.") + kRbac, {"", name});
  if (!role) return;
  const auto& selectors = array_at(*role, "aggregationRule.clusterRoleSelectors");
  if (selectors.empty()) {
    for (const auto& r : array_at(*role, "rules"))
      if (r.is_object()) out.push_back(r.get_object());
    return;
  }
  for (const auto& other : store.list(std::string("clusterroles.") + kRbac, "").items)
    for (const auto& s : selectors)
      if (s.is_object() && matches_selector(s.get_object(), object_at(*other, "metadata.labels"))) {
        for (const auto& r : array_at(*other, "rules"))
          if (r.is_object()) out.push_back(r.get_object());
        break;
      }
}

// Calls fn(rule, where it comes from) for every rule that applies; stops when fn says true.
template <class F>
bool each_rule(const Store& store, const User& user, std::string_view ns, F fn) {
  auto binding_applies = [&](const Object& b, std::string_view binding_ns) {
    for (const auto& s : array_at(b, "subjects"))
      if (s.is_object() && subject_is(s.get_object(), user, binding_ns)) return true;
    return false;
  };
  auto run = [&](const Object& b, std::string_view binding_ns, std::string_view kind) {
    if (!binding_applies(b, binding_ns)) return false;
    std::vector<Object> rules;
    append_rules(store, b, binding_ns, rules);
    auto whence = fmt::format("{} \"{}{}{}\" of {} \"{}\"", kind, name_of(b), binding_ns.empty() ? "" : "/", binding_ns,
                              text_at(b, "roleRef.kind"), text_at(b, "roleRef.name"));
    return std::ranges::any_of(rules, [&](const Object& r) { return fn(r, whence); });
  };
  for (const auto& b : store.list(std::string("clusterrolebindings.") + kRbac, "").items)
    if (run(*b, "", "ClusterRoleBinding")) return true;
  if (ns.empty()) return false;
  for (const auto& b : store.list(std::string("rolebindings.") + kRbac, ns).items)
    if (run(*b, ns, "RoleBinding")) return true;
  return false;
}

}  // namespace

bool User::in(std::string_view group) const { return std::ranges::find(groups, group) != groups.end(); }
User system_user() { return {"system:millrace", "", {"system:masters", "system:authenticated"}}; }
User anonymous_user() { return {"system:anonymous", "", {"system:unauthenticated"}}; }

Decision Authorizer::decide(const User& user, const Attributes& a) const {
  if (user.in("system:masters")) return {true, ""};
  Decision d;
  each_rule(store_, user, a.path.empty() ? a.ns : "", [&](const Object& rule, const std::string& whence) {
    if (!rule_allows(rule, a)) return false;
    d = {true, "RBAC: allowed by " + whence};
    return true;
  });
  return d;
}

Array Authorizer::rules(const User& user, const std::string& ns) const {
  Array out;
  if (user.in("system:masters")) {
    out.push_back(Object{{"verbs", Array{"*"}}, {"apiGroups", Array{"*"}}, {"resources", Array{"*"}}});
    out.push_back(Object{{"verbs", Array{"*"}}, {"nonResourceURLs", Array{"*"}}});
  }
  each_rule(store_, user, ns, [&](const Object& rule, const std::string&) {
    out.push_back(rule);
    return false;
  });
  return out;
}

Tokens::Tokens(const Store& store, crypto::JwtKey key, std::string issuer)
    : store_(store), key_(std::move(key)), issuer_(std::move(issuer)) {}

void Tokens::add_static(std::string token, User user) { fixed_.emplace_back(std::move(token), std::move(user)); }

Result<Tokens::Issued> Tokens::issue(const Object& account, const std::vector<std::string>& audiences,
                                     std::int64_t seconds, const Object* pod) const {
  auto now = time::now_ms() / 1000;
  Array aud;
  for (const auto& a : audiences) aud.push_back(Value(a));
  if (aud.empty()) aud.push_back(Value(issuer_));
  Object bound{{"namespace", namespace_of(account)},
               {"serviceaccount", Object{{"name", name_of(account)}, {"uid", uid_of(account)}}}};
  if (pod != nullptr) bound["pod"] = Object{{"name", name_of(*pod)}, {"uid", uid_of(*pod)}};
  Object claims{{"aud", std::move(aud)},
                {"exp", now + seconds},
                {"iat", now},
                {"iss", issuer_},
                {"jti", crypto::uuid4()},
                {"kubernetes.io", std::move(bound)},
                {"nbf", now},
                {"sub", fmt::format("system:serviceaccount:{}:{}", namespace_of(account), name_of(account))}};
  MR_TRY(auto token, key_.sign(json::serialize(claims)));
  return Issued{std::move(token), now + seconds};
}

std::optional<User> Tokens::verify(std::string_view token, std::vector<std::string>& audiences) const {
  for (const auto& [text, user] : fixed_) {
    // Constant time: the length may show, the bytes may not.
    if (text.size() != token.size()) continue;
    unsigned char differ = 0;
    for (std::size_t i = 0; i < text.size(); ++i)
      differ |= static_cast<unsigned char>(static_cast<unsigned char>(text[i]) ^ static_cast<unsigned char>(token[i]));
    if (differ == 0) return user;
  }
  auto claims = key_.verify(token);
  if (!claims) return std::nullopt;
  auto doc = json::parse(*claims, 16);
  if (!doc || !doc->is_object()) return std::nullopt;
  const auto& c = doc->get_object();
  auto now = time::now_ms() / 1000;
  if (text_at(c, "iss") != issuer_ || int_at(c, "exp") <= now || int_at(c, "nbf") > now + 10) return std::nullopt;
  std::vector<std::string> wanted = audiences.empty() ? std::vector<std::string>{issuer_} : audiences;
  std::vector<std::string> shared;
  for (const auto& a : array_at(c, "aud"))
    if (a.is_string() && std::ranges::find(wanted, std::string_view(a.get_string())) != wanted.end())
      shared.emplace_back(a.get_string());
  if (shared.empty()) return std::nullopt;
  const auto* bound = c.if_contains("kubernetes.io");
  if (bound == nullptr || !bound->is_object()) return std::nullopt;
  std::string ns(text_at(bound->get_object(), "namespace"));
  std::string name(text_at(bound->get_object(), "serviceaccount.name"));
  std::string uid(text_at(bound->get_object(), "serviceaccount.uid"));
  auto account = store_.latest("serviceaccounts", {ns, name});
  if (!account || uid_of(*account) != uid) return std::nullopt;
  // A token that is bound to a pod ends with it.
  if (auto pod = text_at(bound->get_object(), "pod.name"); !pod.empty()) {
    auto p = store_.latest("pods", {ns, std::string(pod)});
    if (!p || uid_of(*p) != text_at(bound->get_object(), "pod.uid")) return std::nullopt;
  }
  audiences = std::move(shared);
  return User{fmt::format("system:serviceaccount:{}:{}", ns, name),
              uid,
              {"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}};
}

}  // namespace mr::kube
