#include "cli/client_api.h"

#include <cstdlib>

#include "json/parse.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::cli {

namespace {

constexpr std::string_view kDiscovery =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
constexpr int kPage = 500;

Code code_of(int status) {
  switch (status) {
    case 401:
      return Code::unauthenticated;
    case 403:
      return Code::permission_denied;
    case 404:
      return Code::not_found;
    case 409:
      return Code::conflict;
    case 503:
      return Code::unavailable;
    default:
      return status >= 500 ? Code::internal : Code::invalid_argument;
  }
}

// kubectl's words for a Status.
Error error_of(const http::ClientResponse& answer) {
  Error e{code_of(answer.status), {}, {}, {}};
  auto doc = json::parse(answer.body);
  if (doc && doc->is_object() && json::string_or_empty(*doc, "kind") == "Status") {
    e.reason = json::string_or_empty(*doc, "reason");
    auto message = json::string_or_empty(*doc, "message");
    if (e.reason == "Invalid" && !message.empty())
      e.message = fmt::format("The {}", message);
    else if (e.reason.empty())
      e.message = fmt::format("Error from server: {}", message);
    else
      e.message = fmt::format("Error from server ({}): {}", e.reason, message);
  } else {
    e.message = fmt::format("Error from server: {} {}", answer.status, text::utf8_prefix(text::trim(answer.body), 300));
  }
  if (e.code == Code::unauthenticated)
    e.message += "\nThe server does not know you: is this the kubeconfig of that server (`millrace kubeconfig`)?";
  return e;
}

std::vector<std::string> texts(const kube::Object& o, std::string_view key) {
  std::vector<std::string> out;
  for (const auto& v : kube::array_at(o, key))
    if (v.is_string()) out.emplace_back(v.get_string());
  return out;
}

bool has(const std::vector<std::string>& list, std::string_view s) { return std::ranges::find(list, s) != list.end(); }

// The number of changes between two short words.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t before = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t change = before + (a[i - 1] == b[j - 1] ? 0 : 1);
      before = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

}  // namespace

bool Resource::can(std::string_view verb) const { return has(verbs, verb); }

std::string Resource::qualified() const { return group.empty() ? plural : plural + "." + group; }

std::string Resource::named(std::string_view name) const {
  return fmt::format("{}{}{}/{}", singular, group.empty() ? "" : ".", group, name);
}

std::string Resource::path(std::string_view ns, std::string_view name) const {
  auto out = group.empty() ? fmt::format("/api/{}", version) : fmt::format("/apis/{}/{}", group, version);
  if (namespaced && !ns.empty()) out += "/namespaces/" + text::percent_encode(ns);
  out += "/" + plural;
  if (!name.empty()) out += "/" + text::percent_encode(name);
  return out;
}

Result<Api> Api::open(const Settings& s) {
  std::vector<std::string> files;
  if (!s.client.kubeconfig.empty()) {
    files.push_back(s.client.kubeconfig);
  } else if (const char* list = std::getenv("KUBECONFIG"); !s.client.data_given && list != nullptr && *list != 0) {
    for (auto f : text::split(list, ':'))
      if (!f.empty()) files.emplace_back(f);
  } else {
    files.push_back(s.data + "/kubeconfig");
  }
  MR_TRY(auto access, read_access(files));
  bool given = !s.client.ns.empty();
  auto ns = given ? s.client.ns : access.ns;
  return Api(std::move(access), given, std::move(ns));
}

Result<http::ClientResponse> Api::send(const Ask& ask) {
  http::ClientRequest rq;
  rq.method = ask.method;
  rq.url = access_.server + ask.path;
  rq.headers.add("Accept", ask.accept);
  rq.headers.add("User-Agent", "millrace");
  if (!access_.token.empty()) rq.headers.add("Authorization", "Bearer " + access_.token);
  if (!ask.body.empty()) rq.headers.add("Content-Type", ask.content_type);
  rq.body = ask.body;
  rq.sink = ask.sink;
  rq.timeout_s = ask.endless ? 0 : 60;
  // The limit belongs to the connection: what may last for ever gets one of its own.
  http::Client own(access_.tls);
  auto answer = (ask.endless ? own : *client_).send(rq);
  if (!answer) {
    auto e = answer.error();
    if (e.code == Code::unavailable)
      e.message = fmt::format(
          "the API at {} does not answer: {}. Is the platform running (`millrace up`), and is this "
          "its kubeconfig?",
          access_.server, e.message);
    return std::unexpected(std::move(e));
  }
  for (const auto& [name, value] : answer->headers.items()) {
    if (!text::iequals(name, "Warning")) continue;
    // 299 - "text", with quotes and backslashes in it escaped
    auto from = value.find('"'), to = value.rfind('"');
    std::string words;
    for (std::size_t i = from + 1; from != std::string::npos && i < to; ++i) {
      if (value[i] == '\\' && i + 1 < to) ++i;
      words += value[i];
    }
    fmt::print(stderr, "Warning: {}\n", words.empty() ? value : words);
  }
  if (answer->status / 100 != 2) return std::unexpected(error_of(*answer));
  return answer;
}

Result<kube::Object> Api::json(const Ask& ask) {
  MR_TRY(auto answer, send(ask));
  auto doc = json::parse(answer.body, 256);
  if (!doc || !doc->is_object())
    return fail(Code::data_loss, fmt::format("{} gave an answer that is no JSON object", access_.server));
  return std::move(doc->get_object());
}

Result<kube::Object> Api::get(const std::string& path, const std::string& accept) {
  auto paged = path;
  add_query(paged, "limit", std::to_string(kPage));
  MR_TRY(auto all, json({.path = paged, .accept = accept}));
  const char* parts = all.contains("rows") ? "rows" : "items";
  for (;;) {
    std::string next(kube::text_at(all, "metadata.continue"));
    if (next.empty()) return all;
    auto more_path = paged;
    add_query(more_path, "continue", next);
    MR_TRY(auto more, json({.path = more_path, .accept = accept}));
    if (auto* to = all.if_contains(parts); to != nullptr && to->is_array())
      for (const auto& v : kube::array_at(more, parts)) to->get_array().push_back(v);
    kube::metadata(all)["continue"] = kube::text_at(more, "metadata.continue");
  }
}

Result<std::vector<kube::Object>> Api::list(const std::string& path) {
  MR_TRY(auto all, get(path));
  std::vector<kube::Object> out;
  for (const auto& v : kube::array_at(all, "items"))
    if (v.is_object()) out.push_back(v.get_object());
  return out;
}

Result<> Api::discover() {
  if (!discovered_.empty()) return {};
  std::vector<Resource> later;  // of versions that are not preferred
  for (const char* root : {"/api", "/apis"}) {
    MR_TRY(auto doc, json({.path = root, .accept = std::string(kDiscovery)}));
    if (kube::kind_of(doc) != "APIGroupDiscoveryList")
      return fail(Code::unsupported,
                  "this server does not offer aggregated discovery (Kubernetes 1.27 or newer does); use kubectl");
    for (const auto& g : kube::array_at(doc, "items")) {
      if (!g.is_object()) continue;
      bool preferred = true;
      for (const auto& v : kube::array_at(g.get_object(), "versions")) {
        if (!v.is_object()) continue;
        for (const auto& r : kube::array_at(v.get_object(), "resources")) {
          if (!r.is_object()) continue;
          const auto& o = r.get_object();
          Resource x;
          x.group = kube::name_of(g.get_object());
          x.version = kube::text_at(v.get_object(), "version");
          x.plural = kube::text_at(o, "resource");
          x.singular = kube::text_at(o, "singularResource");
          x.kind = kube::text_at(o, "responseKind.kind");
          if (x.singular.empty()) x.singular = text::lower(x.kind);
          x.short_names = texts(o, "shortNames");
          x.categories = texts(o, "categories");
          x.verbs = texts(o, "verbs");
          x.namespaced = kube::text_at(o, "scope") == "Namespaced";
          (preferred ? discovered_ : later).push_back(std::move(x));
        }
        preferred = false;
      }
    }
  }
  discovered_.insert(discovered_.end(), later.begin(), later.end());
  return {};
}

std::string Api::near_names(std::string_view word) const {
  std::multimap<std::size_t, std::string> ranked;
  for (const auto& r : discovered_) {
    std::size_t best = 99;
    for (const auto& n : {r.plural, r.singular}) {
      if (n.empty()) continue;
      auto d = distance(word, n);
      if (word.size() >= 3 && n.find(word) != std::string::npos) d = std::min<std::size_t>(d, 1);
      best = std::min(best, d);
    }
    if (best <= std::max<std::size_t>(1, word.size() / 3)) ranked.emplace(best, r.qualified());
  }
  std::vector<std::string> names;
  for (const auto& [d, n] : ranked)
    if (!has(names, n) && names.size() < 4) names.push_back(n);
  std::string out;
  for (const auto& n : names) out += (out.empty() ? "" : ", ") + n;
  return out;
}

Result<Resource> Api::resource(std::string_view asked) {
  MR_CHECK(discover());
  auto whole = text::lower(asked);
  auto dot = whole.find('.');
  auto word = whole.substr(0, dot);
  auto rest = dot == std::string::npos ? std::string() : whole.substr(dot + 1);
  auto fits = [&](const Resource& r) {
    return rest.empty() || r.group == rest || r.version + "." + r.group == rest ||
           (r.group.empty() && r.version == rest);
  };
  for (const auto& r : discovered_)
    if (fits(r) && (r.plural == word || r.singular == word || text::lower(r.kind) == word)) return r;
  for (const auto& r : discovered_)
    if (fits(r) && has(r.short_names, word)) return r;
  auto near = near_names(word);
  return fail(Code::not_found, fmt::format("the server doesn't have a resource type \"{}\"{}{}", asked,
                                           near.empty() ? "" : ". Near it: ", near));
}

Result<std::vector<Resource>> Api::resources(std::string_view words) {
  MR_CHECK(discover());
  std::vector<Resource> out;
  for (auto word : text::split(words, ',')) {
    if (word.empty()) return fail(Code::invalid_argument, fmt::format("'{}' names an empty kind", words));
    bool category = false;
    std::set<std::string> seen;
    for (const auto& r : discovered_)
      if (has(r.categories, word) && seen.insert(r.qualified()).second) {
        out.push_back(r);
        category = true;
      }
    if (category) continue;
    MR_TRY(auto one, resource(word));
    out.push_back(std::move(one));
  }
  return out;
}

Result<Resource> Api::resource_of(std::string_view api_version, std::string_view kind) {
  MR_CHECK(discover());
  auto slash = api_version.find('/');
  auto group = slash == std::string_view::npos ? std::string_view() : api_version.substr(0, slash);
  auto version = slash == std::string_view::npos ? api_version : api_version.substr(slash + 1);
  for (const auto& r : discovered_)
    if (r.group == group && r.version == version && r.kind == kind) return r;
  std::string hint;
  for (const auto& r : discovered_)
    if (r.kind == kind)
      hint = fmt::format(". The server has {} in {}{}{}", kind, r.group, r.group.empty() ? "" : "/", r.version);
  if (hint.empty())
    if (auto near = near_names(text::lower(kind)); !near.empty()) hint = ". Near it: " + near;
  return fail(Code::not_found, fmt::format("no matches for kind \"{}\" in version \"{}\"{}", kind, api_version, hint));
}

Result<std::vector<Target>> targets_of(Api& api, const std::vector<std::string>& args) {
  std::vector<Target> out;
  bool slashed = args.at(0).find('/') != std::string::npos;
  for (const auto& a : args)
    if ((a.find('/') != std::string::npos) != slashed)
      return fail(Code::invalid_argument, "name things either as KIND NAME… or as KIND/NAME…, not both at once");
  if (slashed) {
    for (const auto& a : args) {
      auto at = a.find('/');
      auto name = a.substr(at + 1);
      if (at == 0 || name.empty() || name.find('/') != std::string::npos)
        return fail(Code::invalid_argument, fmt::format("'{}' is not of the form KIND/NAME", a));
      MR_TRY(auto r, api.resource(a.substr(0, at)));
      out.push_back({std::move(r), std::move(name)});
    }
    return out;
  }
  MR_TRY(auto kinds, api.resources(args[0]));
  for (const auto& r : kinds) {
    if (args.size() == 1) out.push_back({r, {}});
    for (std::size_t i = 1; i < args.size(); ++i) out.push_back({r, args[i]});
  }
  return out;
}

Result<std::string> selector_of(const kube::Object& object) {
  std::string out;
  auto pairs = [&](const kube::Object& labels) {
    for (const auto& [k, v] : labels)
      if (v.is_string())
        out += fmt::format("{}{}={}", out.empty() ? "" : ",", std::string_view(k), std::string_view(v.get_string()));
  };
  auto kind = kube::kind_of(object);
  if (kind == "InferenceService") {
    out = fmt::format("serving.kserve.io/inferenceservice={}", kube::name_of(object));
  } else if (kind == "Service" || kind == "ReplicationController") {
    pairs(kube::object_at(object, "spec.selector"));
  } else {
    pairs(kube::object_at(object, "spec.selector.matchLabels"));
    for (const auto& v : kube::array_at(object, "spec.selector.matchExpressions")) {
      if (!v.is_object()) continue;
      const auto& e = v.get_object();
      auto key = kube::text_at(e, "key"), op = kube::text_at(e, "operator");
      std::string values;
      for (const auto& x : texts(e, "values")) values += (values.empty() ? "" : ",") + x;
      out += out.empty() ? "" : ",";
      if (op == "Exists")
        out += key;
      else if (op == "DoesNotExist")
        out += fmt::format("!{}", key);
      else
        out += fmt::format("{} {} ({})", key, op == "In" ? "in" : "notin", values);
    }
  }
  if (out.empty())
    return fail(Code::failed_precondition, fmt::format("{} {} selects no pods", kind, kube::name_of(object)));
  return out;
}

void add_query(std::string& path, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  path += path.find('?') == std::string::npos ? '?' : '&';
  path += fmt::format("{}={}", name, text::percent_encode(value));
}

int complain(const Error& e) {
  bool servers = e.message.starts_with("Error from server") || e.message.starts_with("The ");
  fmt::print(stderr, "{}{}\n", servers ? "" : "error: ", e.message);
  return 1;
}

bool put(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

}  // namespace mr::cli
