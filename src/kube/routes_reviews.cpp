// Kinds that are asked and not kept: who a token is, what a user may do.
#include "json/parse.h"
#include "kube/request.h"

namespace mr::kube {

namespace {

Array texts(const std::vector<std::string>& v) {
  Array a;
  for (const auto& s : v) a.push_back(Value(s));
  return a;
}

Attributes attributes_of(const Object& spec) {
  Attributes a;
  if (const auto* r = at(spec, "resourceAttributes"); r != nullptr && r->is_object()) {
    const auto& o = r->get_object();
    a = {.verb = std::string(text_at(o, "verb")),
         .group = std::string(text_at(o, "group")),
         .resource = std::string(text_at(o, "resource")),
         .subresource = std::string(text_at(o, "subresource")),
         .ns = std::string(text_at(o, "namespace")),
         .name = std::string(text_at(o, "name")),
         .path = {}};
  } else if (const auto* n = at(spec, "nonResourceAttributes"); n != nullptr && n->is_object()) {
    a.verb = text_at(n->get_object(), "verb");
    a.path = text_at(n->get_object(), "path");
  }
  return a;
}

}  // namespace

task::Task<http::Response> serve_review(const ServerDeps& deps, Call& c) {
  const auto& kind = c.target.kind->kind;
  if (c.verb != "create")
    co_return error_response(
        make_error(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
  std::vector<std::string> faults;
  auto body = co_await read_object(c, faults);
  if (!body) co_return error_response(body.error());
  Object o = std::move(*body);
  o["kind"] = kind;
  o["apiVersion"] = c.target.kind->api_version(c.target.version->name);
  auto& meta = metadata(o);
  if (!meta.contains("creationTimestamp")) meta["creationTimestamp"] = nullptr;
  const auto& spec = object_at(o, "spec");
  Object status;
  if (kind == "TokenReview") {
    if (text_at(spec, "token").empty())
      co_return error_response(bad_request("token is required for TokenReview in authentication"));
    std::vector<std::string> audiences;
    for (const auto& a : array_at(spec, "audiences"))
      if (a.is_string()) audiences.emplace_back(a.get_string());
    auto user = deps.tokens->verify(text_at(spec, "token"), audiences);
    if (user) {
      status["authenticated"] = true;
      Object u{{"username", user->name}, {"groups", texts(user->groups)}};
      if (!user->uid.empty()) u["uid"] = user->uid;
      status["user"] = std::move(u);
      status["audiences"] = texts(audiences);
    } else {
      status["user"] = Object{};
      status["error"] = "invalid bearer token";
    }
    ensure(o, "spec")["token"] = text_at(spec, "token");
  } else if (kind == "SelfSubjectReview") {
    Object u{{"username", c.user.name}, {"groups", texts(c.user.groups)}};
    if (!c.user.uid.empty()) u["uid"] = c.user.uid;
    status["userInfo"] = std::move(u);
  } else if (kind == "SelfSubjectRulesReview") {
    if (text_at(spec, "namespace").empty()) co_return error_response(bad_request("no namespace on request"));
    Array resource;
    Array other;
    for (const auto& r : deps.authorizer->rules(c.user, std::string(text_at(spec, "namespace")))) {
      const auto& rule = r.get_object();
      if (!array_at(rule, "nonResourceURLs").empty())
        other.push_back(
            Object{{"verbs", array_at(rule, "verbs")}, {"nonResourceURLs", array_at(rule, "nonResourceURLs")}});
      else
        resource.push_back(rule);
    }
    status = {{"resourceRules", std::move(resource)}, {"nonResourceRules", std::move(other)}, {"incomplete", false}};
  } else {
    auto attributes = attributes_of(spec);
    if (attributes.verb.empty() && attributes.resource.empty() && attributes.path.empty())
      co_return error_response(
          invalid_object(c.target.kind->group, kind, "",
                         {FieldError{"FieldValueInvalid", "spec.resourceAttributes",
                                     "Invalid value: \"null\": exactly one of nonResourceAttributes or "
                                     "resourceAttributes must be specified"}}));
    if (const auto* n = spec.if_contains("nonResourceAttributes");
        n != nullptr && n->is_object() && !object_at(spec, "resourceAttributes").empty())
      co_return error_response(invalid_object(
          c.target.kind->group, kind, "",
          {FieldError{
              "FieldValueInvalid", "spec.nonResourceAttributes",
              fmt::format("Invalid value: authorization.NonResourceAttributes{{Path:{}, Verb:{}}}: cannot be "
                          "specified in combination with resourceAttributes",
                          in_quotes(text_at(n->get_object(), "path")), in_quotes(text_at(n->get_object(), "verb")))}}));
    User user = c.user;
    if (kind != "SelfSubjectAccessReview") {
      user = {std::string(text_at(spec, "user")), std::string(text_at(spec, "uid")), {}};
      for (const auto& g : array_at(spec, "groups"))
        if (g.is_string()) user.groups.emplace_back(g.get_string());
      if (user.name.empty() && user.groups.empty())
        co_return error_response(
            invalid_object(c.target.kind->group, kind, "",
                           {FieldError{"FieldValueInvalid", "spec.user",
                                       "Invalid value: \"\": at least one of user or group must be specified"}}));
    }
    if (kind == "LocalSubjectAccessReview" && attributes.ns != c.target.ns)
      co_return error_response(invalid_object(
          c.target.kind->group, kind, "",
          {invalid("spec.resourceAttributes.namespace", Value(attributes.ns), "must match metadata.namespace")}));
    auto d = deps.authorizer->decide(user, attributes);
    status["allowed"] = d.allowed;
    if (!d.reason.empty()) status["reason"] = d.reason;
  }
  o["status"] = std::move(status);
  co_return object_response(201, o);
}

}  // namespace mr::kube
