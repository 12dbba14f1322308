#include "kube/client_remote.h"

#include <netdb.h>

#include <cstdlib>

#include "core/read_file.h"
#include "json/parse.h"
#include "kube/client_remote_watch.h"
#include "log/log.h"
#include "task/pool.h"
#include "text/text.h"
#include "text/uri.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr std::size_t kRemotePage = 500;
constexpr std::size_t kRemoteBody = 256U << 20;
constexpr int kRemoteTimeoutMs = 60'000;
constexpr int kRemoteTries = 4;                          // when the server asks to come again
constexpr std::int64_t kRemoteFreshNs = 60'000'000'000;  // for how long a token or an address is believed

using RemoteQuery = std::vector<std::pair<std::string_view, std::string>>;

std::string remote_path(const Gvr& r, std::string_view ns, std::string_view name = {}, std::string_view sub = {}) {
  auto out = r.group.empty() ? fmt::format("/api/{}", r.version) : fmt::format("/apis/{}/{}", r.group, r.version);
  if (!ns.empty()) out += "/namespaces/" + text::percent_encode(ns);
  (out += '/') += r.plural;
  // ':' stands in the names of roles.
  if (!name.empty()) out += "/" + text::percent_encode(name, ":");
  if (!sub.empty()) (out += '/') += sub;
  return out;
}

void add_remote_query(std::string& target, const RemoteQuery& query) {
  char sep = '?';
  for (const auto& [n, v] : query) {
    if (v.empty()) continue;
    target += sep;
    target += n;
    target += '=';
    target += text::percent_encode(v);
    sep = '&';
  }
}

task::Task<Result<std::string>> read_remote(http::BodyReader& body) {
  std::string out;
  for (;;) {
    auto piece = co_await body.read();
    if (!piece) co_return std::unexpected(piece.error());
    if (piece->empty()) co_return out;
    if (out.size() + piece->size() > kRemoteBody)
      co_return fail(Code::too_large, "the Kubernetes API's answer is too large", "RequestEntityTooLarge");
    out += *piece;
  }
}

Result<std::vector<std::string>> addresses_of(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int err = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (err != 0) return remote_fault(fmt::format("the name {} cannot be resolved: {}", host, ::gai_strerror(err)));
  std::vector<std::string> out;
  for (const auto* a = found; a != nullptr; a = a->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
      out.emplace_back(text);
  }
  ::freeaddrinfo(found);
  if (out.empty()) return remote_fault(fmt::format("the name {} has no address", host));
  return out;
}

Result<std::string> read_mounted(const std::string& path) {
  auto text = read_or_empty(path);
  if (text.empty()) return fail(Code::failed_precondition, fmt::format("{} cannot be read", path));
  return text;
}

}  // namespace

Result<RemoteAccess> in_cluster_access(const std::string& folder) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr)
    return fail(Code::failed_precondition,
                "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
  RemoteAccess a;
  bool v6 = std::string_view(host).contains(':');
  a.server = v6 ? fmt::format("https://[{}]:{}", host, port) : fmt::format("https://{}:{}", host, port);
  MR_TRY(a.tls.ca_pem, read_mounted(folder + "/ca.crt"));
  a.token_file = folder + "/token";
  if (auto token = read_mounted(a.token_file); !token) return std::unexpected(token.error());
  return a;
}

struct RemoteClient::Impl {
  RemoteAccess access;
  std::string manager, host, authority, base;
  std::uint16_t port = 443;
  std::optional<http::AsyncClient> http;
  task::Pool names{"kube-names", 1, 256};
  std::mutex mutex;
  std::vector<std::string> addresses;
  std::int64_t addresses_until = 0;
  std::string token;
  std::int64_t token_until = 0;
  bool closed = false;
  std::vector<std::weak_ptr<RemoteEnd>> watches;

  Result<void> open() {
    auto uri = text::parse_uri(access.server);
    if ((uri.scheme != "https" && uri.scheme != "http") || uri.authority.empty() || uri.authority.contains('@'))
      return fail(Code::invalid_argument, fmt::format("'{}' is no address of a Kubernetes API", access.server));
    authority = uri.authority;
    base = uri.path;
    while (base.ends_with('/')) base.pop_back();
    port = uri.scheme == "https" ? 443 : 80;
    auto bracket = authority.rfind(']');
    auto colon = authority.rfind(':');
    host = authority;
    if (colon != std::string::npos && (bracket == std::string::npos || colon > bracket)) {
      auto n = text::to_u64(authority.substr(colon + 1));
      if (!n || *n == 0 || *n > 65535)
        return fail(Code::invalid_argument, fmt::format("'{}' has no port that can be", access.server));
      port = static_cast<std::uint16_t>(*n);
      host = authority.substr(0, colon);
    }
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (uri.scheme == "http") {
      http.emplace();
      return {};
    }
    MR_TRY(auto context, http::make_client_context(access.tls));
    http.emplace(http::AsyncClient::Limits{}, std::move(context),
                 access.tls.server_name.empty() ? host : access.tls.server_name);
    return {};
  }

  task::Task<Result<std::vector<std::string>>> where() {
    {
      std::scoped_lock lock(mutex);
      if (time::mono_ns() < addresses_until) co_return addresses;
    }
    // Off the loop: a resolver may take its time.
    auto found = co_await task::run_on(names, [h = host] { return addresses_of(h); });
    if (!found) co_return remote_fault("too many calls wait for the API server's address");
    if (!*found) co_return std::unexpected(found->error());
    std::scoped_lock lock(mutex);
    addresses = std::move(**found);
    addresses_until = time::mono_ns() + kRemoteFreshNs;
    co_return addresses;
  }

  task::Task<std::string> bearer() {
    if (access.token_file.empty()) co_return access.token;
    {
      std::scoped_lock lock(mutex);
      if (time::mono_ns() < token_until) co_return token;
    }
    auto text = co_await task::run_on(names, [path = access.token_file] { return read_mounted(path); });
    std::scoped_lock lock(mutex);
    if (text && *text) {
      token = text::trim(**text);
      token_until = time::mono_ns() + kRemoteFreshNs;
    } else {
      log::warn("the token for the Kubernetes API cannot be read", {{"file", access.token_file}});
    }
    co_return token;  // the one before may still do
  }

  task::Task<Result<http::AsyncAnswer>> send(http::AsyncRequest rq) {
    auto to = co_await where();
    if (!to) co_return std::unexpected(to.error());
    auto secret = co_await bearer();
    rq.target = base + rq.target;
    rq.headers.add("Host", authority);
    rq.headers.add("User-Agent", "millrace/" + manager);
    rq.headers.add("Accept", "application/json");
    if (!secret.empty()) rq.headers.add("Authorization", "Bearer " + secret);
    Error last;
    for (const auto& ip : *to) {
      auto answer = co_await http->send({ip, port}, rq);
      if (answer) {
        if (answer->status == 401) {
          std::scoped_lock lock(mutex);
          token_until = 0;  // another one may be there by now
        }
        co_return std::move(*answer);
      }
      last = std::move(answer).error();
      // Only what did not get as far as the server may go to its next address.
      if (last.reason != "connection failure" && last.reason != "connection timeout") break;
    }
    if (last.reason.starts_with("connection")) {
      std::scoped_lock lock(mutex);
      addresses_until = 0;
    }
    bool late = last.code == Code::deadline_exceeded;
    co_return remote_fault(fmt::format("the Kubernetes API at {} cannot be reached: {}", access.server,
                                       last.detail.empty() ? last.reason : last.detail),
                           late ? Code::deadline_exceeded : Code::unavailable);
  }

  // One call and the document that it answers with.
  task::Task<Result<Value>> ask(std::string method, std::string target, std::string body = {},
                                std::string content_type = "application/json") {
    for (int attempt = 1;; ++attempt) {
      http::AsyncRequest rq;
      rq.method = method;
      rq.target = target;
      rq.body = body;
      if (!body.empty()) rq.headers.add("Content-Type", content_type);
      rq.timeout_ms = kRemoteTimeoutMs;
      auto a = co_await send(std::move(rq));
      if (!a) co_return std::unexpected(a.error());
      auto text = co_await read_remote(*a->body);
      if (!text && text.error().code == Code::too_large) co_return std::unexpected(text.error());
      if (!text) co_return remote_fault("the Kubernetes API's answer was cut off");
      if (a->status >= 200 && a->status < 300) co_return remote_document(*text);
      // A server under load refuses before it does anything, and says when to come again.
      auto wait = text::to_i64(a->headers.get("Retry-After"));
      if ((a->status != 429 && a->status != 503) || !wait || attempt == kRemoteTries)
        co_return std::unexpected(remote_error(a->status, *text));
      co_await task::sleep_ms(static_cast<long>(std::clamp<std::int64_t>(*wait, 1, 10)) * 1000);
    }
  }
  task::Task<Result<ObjectPtr>> ask_object(std::string method, std::string target, std::string body = {},
                                           std::string content_type = "application/json") {
    auto v = co_await ask(std::move(method), std::move(target), std::move(body), std::move(content_type));
    if (!v) co_return std::unexpected(v.error());
    co_return std::make_shared<const Object>(std::move(v->get_object()));
  }

  void enlist(const std::shared_ptr<RemoteEnd>& end) {
    std::scoped_lock lock(mutex);
    if (closed) end->abort->aborted = true;
    std::erase_if(watches, [](const auto& w) { return w.expired(); });
    watches.push_back(end);
  }
};

RemoteClient::RemoteClient(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
RemoteClient::~RemoteClient() { impl_->names.stop(); }

Result<std::unique_ptr<RemoteClient>> RemoteClient::make(RemoteAccess access, std::string manager) {
  auto impl = std::make_shared<Impl>();
  impl->access = std::move(access);
  impl->manager = std::move(manager);
  MR_CHECK(impl->open());
  return std::unique_ptr<RemoteClient>(new RemoteClient(std::move(impl)));
}

task::Task<Result<ObjectPtr>> RemoteClient::get(Gvr r, Key key) {
  co_return co_await impl_->ask_object("GET", remote_path(r, key.ns, key.name));
}

task::Task<Result<List>> RemoteClient::list(Gvr r, std::string ns, ListOptions options) {
  List out;
  std::string token;
  bool paged = true;
  for (;;) {
    auto target = remote_path(r, ns);
    auto limit = options.limit == 0 ? kRemotePage : std::min(kRemotePage, options.limit - out.items.size());
    add_remote_query(target, {{"labelSelector", options.label_selector},
                              {"fieldSelector", options.field_selector},
                              {"limit", paged || options.limit > 0 ? std::to_string(limit) : ""},
                              {"continue", token}});
    auto v = co_await impl_->ask("GET", std::move(target));
    if (!v && v.error().reason == "Expired" && !token.empty() && paged) {
      out = {};
      token.clear();
      paged = false;
      continue;
    }
    if (!v) co_return std::unexpected(v.error());
    auto& page = v->get_object();
    if (out.revision == 0) out.revision = resource_version_of(page);
    token = text_at(page, "metadata.continue");
    // Items of built-in kinds do not say what the list's own kind says.
    auto kind = std::string(kind_of(page));
    if (kind.ends_with("List")) kind.resize(kind.size() - 4);
    auto version = std::string(api_version_of(page));
    auto* items = page.if_contains("items");
    if (items != nullptr && items->is_array())
      for (auto& item : items->get_array()) {
        if (!item.is_object()) continue;
        auto o = std::make_shared<Object>(std::move(item.get_object()));
        if (!o->contains("kind")) (*o)["kind"] = kind;
        if (!o->contains("apiVersion")) (*o)["apiVersion"] = version;
        out.items.push_back(std::move(o));
      }
    if (token.empty() || (options.limit > 0 && out.items.size() >= options.limit)) co_return out;
  }
}

task::Task<Result<ObjectPtr>> RemoteClient::create(Gvr r, Object object) {
  auto target = remote_path(r, namespace_of(object));
  add_remote_query(target, {{"fieldManager", impl_->manager}});
  co_return co_await impl_->ask_object("POST", std::move(target), json::serialize(object));
}

task::Task<Result<ObjectPtr>> RemoteClient::replace(Gvr r, Object object, std::string subresource) {
  auto target = remote_path(r, namespace_of(object), name_of(object), subresource);
  add_remote_query(target, {{"fieldManager", impl_->manager}});
  bool bare = text_at(object, "metadata.resourceVersion").empty();
  for (int attempt = 0;; ++attempt) {
    auto done = co_await impl_->ask_object("PUT", target, json::serialize(object));
    if (done || !bare || attempt == 5) co_return done;
    // Custom resources are not written without a revision: the newest one makes it unconditional.
    const auto& e = done.error();
    bool wanted = e.reason == "Invalid" && e.detail.contains("metadata.resourceVersion");
    if (!wanted && (attempt == 0 || e.reason != "Conflict")) co_return done;
    auto now = co_await get(r, key_of(object));
    if (!now) co_return now;
    metadata(object)["resourceVersion"] = text_at(**now, "metadata.resourceVersion");
  }
}
task::Task<Result<ObjectPtr>> RemoteClient::update(Gvr r, Object object) {
  return replace(std::move(r), std::move(object), {});
}
task::Task<Result<ObjectPtr>> RemoteClient::update_status(Gvr r, Object object) {
  return replace(std::move(r), std::move(object), "status");
}

task::Task<Result<ObjectPtr>> RemoteClient::patch(Gvr r, Key key, PatchType type, Value body, std::string subresource,
                                                  std::string manager) {
  auto target = remote_path(r, key.ns, key.name, subresource);
  bool apply = type == PatchType::apply;
  add_remote_query(target,
                   {{"fieldManager", manager.empty() ? impl_->manager : manager}, {"force", apply ? "true" : ""}});
  std::string media = apply                          ? "application/apply-patch+yaml"
                      : type == PatchType::json      ? "application/json-patch+json"
                      : type == PatchType::strategic ? "application/strategic-merge-patch+json"
                                                     : "application/merge-patch+json";
  co_return co_await impl_->ask_object("PATCH", std::move(target), json::serialize(body), std::move(media));
}

namespace {
Object remote_deletion(const std::string& uid) {
  Object o{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
  if (!uid.empty()) o["preconditions"] = Object{{"uid", uid}};
  return o;
}
}  // namespace

task::Task<Result<void>> RemoteClient::remove(Gvr r, Key key, Propagation p, std::string uid) {
  auto o = remote_deletion(uid);
  o["propagationPolicy"] = p == Propagation::foreground ? "Foreground"
                           : p == Propagation::orphan   ? "Orphan"
                                                        : "Background";
  auto done = co_await impl_->ask("DELETE", remote_path(r, key.ns, key.name), json::serialize(o));
  if (!done) co_return std::unexpected(done.error());
  co_return Result<void>{};
}
task::Task<Result<void>> RemoteClient::remove_now(Gvr r, Key key, std::string uid) {
  auto o = remote_deletion(uid);
  o["gracePeriodSeconds"] = 0;
  auto done = co_await impl_->ask("DELETE", remote_path(r, key.ns, key.name), json::serialize(o));
  if (!done) co_return std::unexpected(done.error());
  co_return Result<void>{};
}

task::Task<Result<std::unique_ptr<Watch>>> RemoteClient::watch(Gvr r, std::string ns, std::uint64_t revision,
                                                               ListOptions options) {
  auto end = std::make_shared<RemoteEnd>();
  impl_->enlist(end);
  if (end->abort->aborted) co_return make_remote_watch({}, nullptr, end);
  std::vector<ObjectPtr> first;
  if (revision == 0) {
    // The server's own way of beginning with what there is may show a past state.
    auto l = co_await list(r, ns, {options.label_selector, options.field_selector, 0});
    if (!l) co_return std::unexpected(l.error());
    first = std::move(l->items);
    revision = l->revision;
  }
  // The server ends it in time, not all of them at once; a connection that died unseen is given up soon after.
  static std::atomic<unsigned> spread{0};
  auto seconds = 300 + static_cast<int>(spread++ * 37 % 300);
  http::AsyncRequest rq;
  rq.target = remote_path(r, ns);
  add_remote_query(rq.target, {{"labelSelector", options.label_selector},
                               {"fieldSelector", options.field_selector},
                               {"watch", "true"},
                               {"allowWatchBookmarks", "true"},
                               {"resourceVersion", std::to_string(revision)},
                               {"timeoutSeconds", std::to_string(seconds)}});
  rq.timeout_ms = (seconds + 30) * 1000;
  rq.abort = end->abort;
  auto a = co_await impl_->send(std::move(rq));
  if (end->abort->aborted) co_return make_remote_watch({}, nullptr, end);
  if (!a) co_return std::unexpected(a.error());
  if (a->status != 200) {
    auto text = co_await read_remote(*a->body);
    co_return std::unexpected(remote_error(a->status, text ? *text : std::string()));
  }
  co_return make_remote_watch(std::move(first), std::move(a->body), std::move(end));
}

void RemoteClient::close_watches() {
  std::vector<std::weak_ptr<RemoteEnd>> all;
  {
    std::scoped_lock lock(impl_->mutex);
    impl_->closed = true;
    all.swap(impl_->watches);
  }
  for (const auto& w : all) {
    auto end = w.lock();
    if (!end) continue;
    if (end->loop == task::Loop::current())
      end->abort->now();
    else if (end->loop != nullptr)
      end->loop->post([end] { end->abort->now(); });
  }
}

}  // namespace mr::kube
