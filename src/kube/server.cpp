#include "kube/server.h"

#include "http/tls.h"
#include "json/parse.h"
#include "kube/request.h"
#include "kube/usage.h"
#include "kube/wire.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "text/text.h"

namespace mr::kube {

namespace {

constexpr std::size_t kMaxParts = 32;

http::Response text_response(int status, std::string body) { return http::Response::text(status, std::move(body)); }

// Discovery documents of this version of the API; clients show it and compare it.
constexpr const char* kMinor = "32";

std::string version_document(const std::string& program) {
  return json::serialize(Object{{"major", "1"},
                                {"minor", kMinor},
                                {"gitVersion", fmt::format("v1.{}.0+millrace-{}", kMinor, program)},
                                {"gitCommit", ""},
                                {"gitTreeState", "clean"},
                                {"buildDate", "2026-01-01T00:00:00Z"},
                                {"goVersion", ""},
                                {"compiler", "clang"},
                                {"platform", "linux/amd64"}});
}

bool open_path(std::string_view path) {
  for (std::string_view p : {"/healthz", "/livez", "/readyz", "/version"})
    if (path == p || path.starts_with(std::string(p) + "/")) return true;
  return path == "/.well-known/openid-configuration";
}

std::string_view verb_of(const http::Request& r, bool named, bool watch) {
  switch (r.method) {
    case http::Method::get:
    case http::Method::head:
      return named ? "get" : watch ? "watch" : "list";
    case http::Method::post:
      return "create";
    case http::Method::put:
      return "update";
    case http::Method::patch:
      return "patch";
    case http::Method::del:
      return named ? "delete" : "deletecollection";
    default:
      return "get";
  }
}

}  // namespace

std::string_view Call::param(std::string_view name) const {
  for (const auto& [k, v] : query)
    if (k == name) return v;
  return {};
}
bool Call::flag(std::string_view name) const {
  auto v = param(name);
  return v == "true" || v == "1";
}
std::vector<std::string> Call::params(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [k, v] : query)
    if (k == name) out.push_back(v);
  return out;
}

struct Server::Impl {
  ServerDeps deps;

  // Who asks. An error: credentials were given and are not believed.
  Answer<User> authenticate(const http::Request& r) const {
    User user = anonymous_user();
    if (r.peer != nullptr) {
      user = {r.peer->common_name, "", r.peer->organizations};
      user.groups.emplace_back("system:authenticated");
    } else if (auto header = r.headers.get("authorization"); !header.empty()) {
      if (header.size() < 7 || !text::iequals(header.substr(0, 7), "bearer ")) return std::unexpected(unauthorized());
      std::vector<std::string> audiences;
      auto known = deps.tokens->verify(text::trim(header.substr(7)), audiences);
      if (!known) return std::unexpected(unauthorized());
      user = std::move(*known);
    } else if (r.peer_refused) {
      return std::unexpected(unauthorized());
    }
    return impersonate(r, std::move(user));
  }
  // kubectl --as: allowed to those who may impersonate.
  Answer<User> impersonate(const http::Request& r, User user) const {
    auto as = r.headers.get("impersonate-user");
    if (as.empty()) return user;
    User other{std::string(as), std::string(r.headers.get("impersonate-uid")), {}};
    for (const auto& [k, v] : r.headers.items())
      if (text::iequals(k, "impersonate-group")) other.groups.emplace_back(v);
    auto need = [&](std::string_view resource, std::string_view name) -> Answer<void> {
      Attributes a{.verb = "impersonate", .resource = std::string(resource), .name = std::string(name)};
      auto d = deps.authorizer->decide(user, a);
      if (d.allowed) return {};
      return std::unexpected(forbidden_request(user.name, "impersonate", "", resource, "", "", name, d.reason));
    };
    if (auto ok = need("users", other.name); !ok) return std::unexpected(ok.error());
    for (const auto& g : other.groups)
      if (auto ok = need("groups", g); !ok) return std::unexpected(ok.error());
    if (other.name.starts_with("system:serviceaccount:")) {
      auto p = text::split(other.name, ':');
      if (p.size() == 4 && other.groups.empty())
        other.groups = {"system:serviceaccounts", "system:serviceaccounts:" + std::string(p[2])};
    }
    other.groups.emplace_back("system:authenticated");
    return other;
  }

  // Takes the path apart; false: no path of the API's resources.
  Answer<bool> locate(Call& c) const {
    const auto& p = c.parts;
    std::size_t i = 0;
    Gvr r;
    if (p.size() >= 3 && p[0] == "api") {
      r.version = p[1];
      i = 2;
    } else if (p.size() >= 4 && p[0] == "apis") {
      r.group = p[1];
      r.version = p[2];
      i = 3;
    } else {
      return false;
    }
    // The old form of a watch: its own path.
    const bool old_watch = p[i] == "watch" && p.size() > i + 1;
    if (old_watch) ++i;
    std::string ns;
    if (p[i] == "namespaces" && p.size() > i + 2 && p[i + 2] != "status" && p[i + 2] != "finalize") {
      ns = p[i + 1];
      i += 2;
    }
    r.plural = p[i++];
    auto target = deps.api->resolve(r, ns);
    if (!target) return std::unexpected(target.error());
    c.target = std::move(*target);
    auto& t = c.target;
    if (r.group.empty() && r.plural == "namespaces" && p.size() > i) t.ns = p[i];
    if (p.size() > i) t.name = p[i++];
    if (p.size() > i) t.subresource = p[i++];
    for (; i < p.size(); ++i) c.rest += "/" + p[i];
    if (!t.kind->namespaced && !ns.empty() && r.plural != "namespaces")
      return std::unexpected(make_error(404, "NotFound", "the server could not find the requested resource"));
    if (old_watch) {
      if (c.http->method != http::Method::get || !t.subresource.empty())
        return std::unexpected(make_error(404, "NotFound", "the server could not find the requested resource"));
      if (!t.name.empty()) c.query.emplace_back("fieldSelector", "metadata.name=" + t.name);
      t.name.clear();
      if (t.kind->qualified() == "namespaces") t.ns.clear();
      c.verb = "watch";
      return true;
    }
    bool watch = t.name.empty() && c.flag("watch");
    c.verb = verb_of(*c.http, !t.name.empty(), watch);
    return true;
  }

  Answer<void> authorize(const Call& c) const {
    if (c.user.in("system:masters")) return {};
    Attributes a;
    if (c.target.kind) {
      const auto& t = c.target;
      a = {.verb = c.verb,
           .group = t.kind->group,
           .resource = t.kind->plural,
           .subresource = t.subresource,
           .ns = t.ns,
           .name = t.name,
           .path = {}};
    } else {
      std::string verb = text::lower(http::method_name(c.http->method));
      a = {.verb = verb, .path = std::string(c.http->path)};
    }
    auto d = deps.authorizer->decide(c.user, a);
    if (d.allowed) return {};
    if (c.user.name == "system:anonymous" && c.http->headers.get("authorization").empty() && c.target.kind == nullptr &&
        open_path(c.http->path))
      return {};
    if (!c.target.kind)
      return std::unexpected(
          make_error(403, "Forbidden",
                     fmt::format("forbidden: User \"{}\" cannot {} path \"{}\"", c.user.name, a.verb, c.http->path)));
    return std::unexpected(
        forbidden_request(c.user.name, a.verb, a.group, a.resource, a.subresource, a.ns, a.name, d.reason));
  }

  // Everything that is no resource: discovery, OpenAPI, probes. nullopt: unknown.
  std::optional<http::Response> serve_document(const Call& c) const {
    const auto& p = c.parts;
    auto& kinds = deps.api->kinds();
    auto path = c.http->path;
    while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
    if (path.starts_with("/healthz") || path.starts_with("/livez") || path.starts_with("/readyz"))
      return text_response(200, "ok");
    if (path == "/version") return http::Response::json(200, version_document(deps.program_version));
    auto accept = c.http->headers.get("accept");
    auto aggregated = [&](bool core) -> std::optional<http::Response> {
      for (auto part : text::split(accept, ',')) {
        if (part.find("as=APIGroupDiscoveryList") == std::string_view::npos) {
          if (text::trim(part).starts_with("application/json")) return std::nullopt;
          continue;
        }
        std::string version = part.find("v=v2beta1") != std::string_view::npos ? "v2beta1" : "v2";
        auto r = http::Response::json(200, aggregated_discovery(kinds, core, version));
        r.headers.set("Content-Type",
                      fmt::format("application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList", version));
        r.headers.set("Vary", std::string("Accept"));
        return r;
      }
      return std::nullopt;
    };
    if (path == "/api") {
      if (auto r = aggregated(true)) return r;
      return http::Response::json(200, api_versions_document(deps.address));
    }
    if (path == "/apis") {
      if (auto r = aggregated(false)) return r;
      return http::Response::json(200, api_group_list(kinds));
    }
    if (p.size() == 2 && p[0] == "api")
      if (auto d = api_resource_list(kinds, "", p[1])) return http::Response::json(200, std::move(*d));
    if (p.size() == 2 && p[0] == "apis")
      if (auto d = api_group(kinds, p[1])) return http::Response::json(200, std::move(*d));
    if (p.size() == 3 && p[0] == "apis")
      if (auto d = api_resource_list(kinds, p[1], p[2])) return http::Response::json(200, std::move(*d));
    if (path == "/openapi/v3") return http::Response::json(200, openapi_index(kinds));
    if (path.starts_with("/openapi/v3/")) {
      if (auto d = openapi_document(kinds, path.substr(12))) {
        auto r = http::Response::json(200, std::move(*d));
        if (!c.param("hash").empty()) {
          // The hash in the address names the content: clients keep it for ever.
          r.headers.set("Cache-Control", std::string("public, immutable"));
          r.headers.set("ETag", fmt::format("\"{}\"", c.param("hash")));
        }
        return r;
      }
    }
    if (path == "/openapi/v2") {
      // kubectl asks for it only to check lists of objects itself, and lets pass what the document does not describe.
      // All descriptions are in version 3; this one has a version and a title (message openapi.v2.Document).
      static constexpr std::string_view kDocument(
          "\x0a\x03"
          "2.0"
          "\x12\x13\x0a\x08Millrace\x12\x07v1.32.0"
          "\x42\x00\x4a\x00",
          30);
      return http::Response::text(200, std::string(kDocument),
                                  "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    }
    if (path == "/") {
      Array paths{"/api",     "/api/v1",     "/apis",       "/healthz", "/livez",
                  "/metrics", "/openapi/v2", "/openapi/v3", "/readyz",  "/version"};
      return http::Response::json(200, json::serialize(Object{{"paths", std::move(paths)}}));
    }
    return std::nullopt;
  }
};

Server::Server(ServerDeps deps) : impl_(std::make_unique<Impl>(std::move(deps))) {
  if (!impl_->deps.usages) impl_->deps.usages = std::make_shared<Usages>();
}
Server::~Server() = default;

task::Task<http::Response> Server::handle(http::Request& request) {
  Call c;
  c.http = &request;
  c.query = text::parse_query(request.query);
  auto user = impl_->authenticate(request);
  if (!user) co_return error_response(user.error());
  c.user = std::move(*user);
  std::string_view path = request.path;
  if (path.starts_with('/')) path.remove_prefix(1);
  if (path.ends_with('/')) path.remove_suffix(1);
  for (auto part : text::split(path, '/')) {
    auto decoded = text::percent_decode(part);
    if (!decoded || decoded->find('\0') != std::string::npos || c.parts.size() == kMaxParts)
      co_return error_response(bad_request("the path is malformed"));
    c.parts.push_back(std::move(*decoded));
  }
  auto located = impl_->locate(c);
  if (!located) {
    // Whether a resource exists is told only to those who may ask for it.
    if (auto ok = impl_->authorize(c); !ok) co_return error_response(ok.error());
    co_return error_response(located.error());
  }
  if (auto ok = impl_->authorize(c); !ok) co_return error_response(ok.error());
  if (!*located) {
    if (auto r = impl_->serve_document(c)) {
      if (request.method != http::Method::get && request.method != http::Method::head)
        co_return error_response(
            make_error(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
      co_return std::move(*r);
    }
    co_return error_response(make_error(404, "NotFound", "the server could not find the requested resource"));
  }
  if (c.target.kind->virtual_kind) co_return co_await serve_review(impl_->deps, c);
  if (!c.target.subresource.empty())
    if (auto r = co_await serve_subresource(impl_->deps, c)) co_return std::move(*r);
  if (c.verb == "watch") co_return co_await serve_watch(impl_->deps, c);
  co_return co_await serve_resource(impl_->deps, c);
}

}  // namespace mr::kube
