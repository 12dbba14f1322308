// What a routing rule says once compiled: conditions on a request, and what is done with one that meets them.
// Plain values, immutable after compiling and shared: thread safe.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mr::mesh {

class Pattern;  // a compiled regular expression; text_match.cpp

// {exact|prefix|regex}; an empty one only asks that there is something.
struct TextMatch {
  enum class Kind : std::uint8_t { present, exact, prefix, regex };
  Kind kind = Kind::present;
  std::string text;
  bool fold = false;  // ASCII case is ignored (exact and prefix)
  std::shared_ptr<const Pattern> pattern;
  [[nodiscard]] bool matches(std::string_view value) const;
};
using NamedMatch = std::pair<std::string, TextMatch>;

// One entry of `match`: everything that is set must hold.
struct Condition {
  std::optional<TextMatch> uri, scheme, method, authority;
  std::vector<NamedMatch> headers, without_headers, query;
};

using Pairs = std::vector<std::pair<std::string, std::string>>;
struct HeaderOps {
  Pairs set, add;
  std::vector<std::string> remove;
  [[nodiscard]] bool empty() const { return set.empty() && add.empty() && remove.empty(); }
};

struct Destination {
  std::string ns, service;  // the Service that it names; empty: none of the cluster's
  std::string subset;
  std::uint16_t port = 0;  // 0: the Service's only port
};
struct Weighted {
  Destination to;
  std::uint32_t weight = 0;
  HeaderOps request, response;
};
struct Rewrite {
  std::optional<std::string> uri;
  std::string authority;
  std::shared_ptr<const Pattern> pattern;  // uriRegexRewrite
  std::string substitution;
};
struct Redirect {
  int code = 301;
  std::optional<std::string> uri;
  std::string authority, scheme;
  std::optional<std::uint16_t> port;
};
struct DirectResponse {
  int status = 200;
  std::string body;
};
struct Retries {
  int attempts = 2;
  long per_try_ms = 0;  // 0: the route's timeout
  std::vector<std::string> on;
};
struct Fault {
  double delay_percent = 0, abort_percent = 0;
  long delay_ms = 0;
  int abort_status = 0;
};
struct Mirror {
  Destination to;
  double percent = 100;
};
struct Cors {
  std::vector<TextMatch> origins;
  std::string methods, headers, expose;
  std::string max_age_s;
  std::optional<bool> credentials;
};

struct HttpRoute {
  std::string name;
  std::vector<Condition> conditions;  // any of them; none: all requests
  std::vector<Weighted> to;
  std::optional<Rewrite> rewrite;
  std::optional<Redirect> redirect;
  std::optional<DirectResponse> direct;
  std::optional<Retries> retries;
  std::optional<Fault> fault;
  std::optional<Cors> cors;
  std::vector<Mirror> mirrors;
  HeaderOps request, response;
  long timeout_ms = 0;               // 0: none
  std::vector<HttpRoute> delegated;  // tried instead of an action of its own
};

// A request as the tables see it. Views must outlive the call only.
struct RequestView {
  std::string_view method, scheme = "http";
  std::string_view authority;  // the Host header, with its port
  std::string_view path;       // raw, without the query
  std::string_view query;
  std::span<const std::pair<std::string_view, std::string_view>> headers;
};

}  // namespace mr::mesh
