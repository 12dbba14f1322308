#include "tracking/validate.h"

#include <re2/re2.h>
#include <unistd.h>

#include "crypto/random.h"
#include "json/parse.h"
#include "json/writer.h"
#include "text/text.h"
#include "text/uri.h"

namespace mr::tracking {

std::string python_repr(std::string_view s) {
  bool single = s.find('\'') != std::string_view::npos;
  bool dbl = s.find('"') != std::string_view::npos;
  char q = single && !dbl ? '"' : '\'';
  std::string out(1, q);
  for (char c : s) {
    if (c == '\\' || c == q) {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + q;
}

std::unexpected<Error> invalid_value(std::string_view value, std::string_view parameter, std::string_view why) {
  std::string shown;
  json::append_string_ascii(shown, value);
  return invalid(fmt::format("Invalid value {} for parameter '{}' supplied: {}", shown, parameter, why));
}

namespace {

// posixpath.normpath's result, to say what a name would resolve to.
std::string normal_path(std::string_view p) {
  if (p.empty()) return ".";
  std::string lead = p.starts_with("//") && !p.starts_with("///") ? "//" : p.starts_with('/') ? "/" : "";
  std::vector<std::string_view> parts;
  for (auto s : text::split(p, '/')) {
    if (s.empty() || s == ".") continue;
    if (s != ".." || (lead.empty() && parts.empty()) || (!parts.empty() && parts.back() == ".."))
      parts.push_back(s);
    else if (!parts.empty())
      parts.pop_back();
  }
  std::string out = lead;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += '/';
    out += parts[i];
  }
  return out.empty() ? "." : out;
}

std::string at(std::string_view prefix, std::string_view field) {
  return prefix.empty() ? std::string(field) : fmt::format("{}.{}", prefix, field);
}

std::string double_repr(double v) {
  std::string s;
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  json::append_double(s, v);
  return s;
}

}  // namespace

Result<> check_name(std::string_view name, std::string_view parameter) {
  // Letters and digits of any script; the pattern is asked only where a byte is not ASCII.
  static const re2::RE2 pattern(R"([/\pL\pN_.\- :]*)");
  bool ascii = true;
  for (char c : name) {
    auto u = static_cast<unsigned char>(c);
    ascii = ascii && u < 0x80;
    bool ok = u >= 0x80 || std::isalnum(u) != 0 || std::string_view("/_.- :").find(c) != std::string_view::npos;
    if (!ok || (!ascii && !re2::RE2::FullMatch(re2::StringPiece(name.data(), name.size()), pattern)))
      return invalid_value(name, parameter,
                           "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( "
                           "), colon(:) and slashes (/).");
  }
  auto n = normal_path(name);
  if (n != name || n == "." || n.starts_with("..") || n.starts_with('/'))
    return invalid_value(name, parameter,
                         fmt::format("Names may be treated as files in certain cases, and must not resolve to other "
                                     "names when treated as such. This name would resolve to {}",
                                     python_repr(n)));
  return {};
}

Result<> check_length(std::string_view s, std::string_view what, std::size_t limit) {
  if (s.size() <= limit || text::utf8_length(s) <= limit) return {};
  return invalid(fmt::format("'{}' exceeds the maximum length of {} characters", what, limit));
}

Result<> check_metric(Metric& m, double raw, std::string_view prefix) {
  MR_CHECK(check_name(m.key, at(prefix, "name")));
  if (m.timestamp < 0)
    return invalid(
        fmt::format("Invalid value {} for parameter '{}' supplied: metric '{}' (value={}). Timestamp must be a "
                    "nonnegative long (64-bit integer) ",
                    m.timestamp, at(prefix, "timestamp"), m.key, double_repr(raw)));
  MR_CHECK(check_length(m.key, "Metric name", 250));
  constexpr double big = 1.7976931348623157e308;
  m.is_nan = std::isnan(raw);
  m.value = m.is_nan ? 0 : std::clamp(raw, -big, big);
  return {};
}

Result<> check_param(KeyValue& p, std::string_view prefix) {
  MR_CHECK(check_name(p.key, at(prefix, "key")));
  MR_CHECK(check_length(p.key, "Param key", 250));
  if (p.value.size() > kMaxParamValue) p.value.resize(text::utf8_prefix(p.value, kMaxParamValue).size());
  return {};
}

Result<> check_run_tag(KeyValue& t, std::string_view prefix) {
  MR_CHECK(check_name(t.key, at(prefix, "key")));
  MR_CHECK(check_length(t.key, at(prefix, "key"), 250));
  if (t.value.size() > kMaxTagValue) t.value.resize(text::utf8_prefix(t.value, kMaxTagValue).size());
  return {};
}

Result<> check_experiment_tag(const KeyValue& t) {
  MR_CHECK(check_name(t.key, "key"));
  MR_CHECK(check_length(t.key, "key", 250));
  return check_length(t.value, "value", 20000);
}

Result<> check_experiment_name(std::string_view name) {
  if (text::trim(name).empty()) return invalid(fmt::format("Invalid experiment name: '{}'", name));
  return check_length(name, "name", 500);
}

Result<std::int64_t> parse_experiment_id(std::string_view s) {
  if (s.empty()) return 0;
  auto t = text::trim(s);
  if (t.starts_with('+')) t.remove_prefix(1);
  auto v = text::to_i64(t);
  if (!v) return invalid(fmt::format("Invalid experiment ID '{}'. Experiment ID must be a valid integer.", s));
  return *v;
}

Result<> check_run_id_format(std::string_view id) {
  bool ok = !id.empty() && id.size() <= 256 && std::isalnum(static_cast<unsigned char>(id[0])) != 0;
  for (char c : id)
    ok = ok && (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' ||
                static_cast<unsigned char>(c) >= 0x80);
  if (ok) return {};
  std::string shown;
  json::append_string(shown, id);
  return invalid(fmt::format("Invalid value {} for parameter 'run_id' supplied.", shown));
}

Result<std::string> check_artifact_location(std::string location) {
  if (location.empty()) return location;
  auto u = text::parse_uri(location);
  if (location.find('#') != std::string::npos || (!u.scheme.empty() && u.path.find(';') != std::string::npos))
    return invalid("'artifact_location' URL can't include fragments or params.");
  std::string q = u.query;
  for (int i = 0; i < 8; ++i) {
    if (q.find("..") != std::string::npos) return invalid("Invalid query string");
    auto d = text::percent_decode(q);
    if (!d || *d == q) break;
    q = *d;
  }
  if (u.scheme == "runs")
    return invalid(fmt::format("Artifact location cannot be a runs:/ URI. Given: '{}'", location));
  static const std::set<std::string> refused{"ftp", "sftp", "hdfs", "viewfs", "http", "https", "r2", "b2", "abfss"};
  if (refused.contains(u.scheme) || (u.scheme == "mlflow-artifacts" && !u.authority.empty()))
    return invalid(
        fmt::format("'artifact_location' cannot use the '{}' scheme: the '{}' scheme addresses a host other than the "
                    "tracking server's configured artifact storage, so the "
                    "server would connect to the host named in the URI. Set the "
                    "MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to allow it.",
                    u.scheme, u.scheme));
  if (text::utf8_length(location) > 2048)
    return invalid(
        "Invalid artifact path length. The length of the artifact path cannot be greater than 2048 characters. To "
        "configure this limit, please set the "
        "MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH environment variable.");
  if (u.scheme.empty() && !location.starts_with('/')) return (std::filesystem::current_path() / location).string();
  return location;
}

Result<> check_model_name(std::string_view name, std::string_view field) {
  if (name.empty()) return missing_parameter(field);
  if (name.find_first_of("/:") != std::string_view::npos)
    return invalid(fmt::format("Invalid model name {}. Names cannot contain '/' or ':'.", python_repr(name)));
  if (text::trim(name).empty()) return invalid(fmt::format("Missing value for required parameter '{}'.", field));
  auto n = normal_path(name);
  if (n != name || n == "." || n == "..")
    return invalid_value(name, field,
                         fmt::format("Names may be treated as files in certain cases, and must not resolve to other "
                                     "names when treated as such. This name would resolve to {}",
                                     python_repr(n)));
  return {};
}

Result<> check_alias(std::string_view alias) {
  if (alias.empty()) return invalid("Registered model alias name cannot be empty.");
  bool ok = true;
  for (char c : alias)
    ok = ok && (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' ||
                static_cast<unsigned char>(c) >= 0x80);
  if (!ok)
    return invalid(fmt::format(
        "Invalid alias name: '{}'. Names may only contain alphanumerics, underscores (_), and dashes (-).", alias));
  if (text::utf8_length(alias) > 255)
    return invalid("'Registered model alias name' exceeds the maximum length of 255 characters");
  if (text::lower(alias) == "latest") return invalid("'latest' alias name (case insensitive) is reserved.");
  bool version = alias.size() > 1 && (alias[0] == 'v' || alias[0] == 'V');
  for (std::size_t i = 1; version && i < alias.size(); ++i)
    version = std::isdigit(static_cast<unsigned char>(alias[i])) != 0;
  if (version) return invalid(fmt::format("Version alias name '{}' is reserved.", alias));
  return {};
}

Result<std::int64_t> parse_model_version(std::string_view s) {
  auto v = text::to_i64(text::trim(s));
  if (!v) return invalid(fmt::format("Parameter 'version' must be an integer, got '{}'.", text::utf8_prefix(s, 100)));
  return *v;
}

Result<> check_logged_model_name(std::string_view name) {
  if (name.empty() || name.find_first_of("/:.%\"'") != std::string_view::npos)
    return invalid(
        fmt::format("Invalid model name ({}) provided. Model name must be a non-empty string and cannot contain the "
                    "following characters: ('/', ':', '.', '%', '\"', \"'\")",
                    python_repr(name)));
  return {};
}

std::string generate_name() {
  static constexpr std::string_view adjectives[] = {
      "amber",  "brisk",   "calm",   "candid", "clever", "copper", "crisp", "deep",   "eager",  "early",
      "fair",   "fleet",   "fresh",  "gentle", "glad",   "golden", "grand", "handy",  "honest", "jolly",
      "keen",   "kind",    "light",  "lively", "lucid",  "mellow", "merry", "mild",   "neat",   "nimble",
      "noble",  "patient", "plain",  "polite", "proud",  "quick",  "quiet", "rapid",  "ready",  "rustic",
      "serene", "sharp",   "silent", "silver", "smooth", "solid",  "spry",  "steady", "sturdy", "sunny",
      "swift",  "tidy",    "upbeat", "vivid",  "warm",   "wise"};
  static constexpr std::string_view nouns[] = {
      "axle",   "barn",   "basin",  "beam", "bridge", "brook",  "canal",  "creek",  "dam",    "delta", "ferry",
      "field",  "flume",  "ford",   "gate", "gear",   "grain",  "harbor", "heron",  "hopper", "inlet", "kiln",
      "lathe",  "ledge",  "lever",  "lock", "loom",   "marsh",  "meadow", "mill",   "otter",  "pier",  "pond",
      "pulley", "quarry", "rapids", "reed", "ridge",  "river",  "rotor",  "rudder", "sail",   "shore", "sluice",
      "spring", "stone",  "stream", "tide", "trout",  "valley", "weir",   "wheel",  "willow"};
  for (int i = 0;; ++i) {
    auto name = fmt::format("{}-{}-{}", adjectives[crypto::random_u64() % std::size(adjectives)],
                            nouns[crypto::random_u64() % std::size(nouns)], crypto::random_u64() % 1001);
    if (name.size() <= 20 || i == 10) return name.substr(0, 20);
  }
}

std::string join_uri(std::string_view root, std::string_view tail) {
  auto q = root.find('?');
  std::string base(root.substr(0, q));
  while (base.size() > 1 && base.ends_with('/') && !base.ends_with("://") && !base.ends_with(":/")) base.pop_back();
  if (!base.ends_with('/')) base += '/';
  base += tail;
  if (q != std::string_view::npos) base += root.substr(q);
  return base;
}

std::string page_token(std::int64_t offset) { return text::base64_encode(fmt::format("{{\"offset\": {}}}", offset)); }

Result<std::int64_t> parse_page_token(std::string_view token) {
  if (token.empty()) return 0;
  auto raw = text::base64_decode(token);
  if (!raw) return invalid("Invalid page token, could not base64-decode");
  auto v = json::parse(*raw);
  if (!v || !v->is_object()) return invalid(fmt::format("Invalid page token, decoded value=b{}", python_repr(*raw)));
  const auto* o = json::find(*v, "offset");
  if (o == nullptr || !o->is_int64() || o->get_int64() <= 0)
    return invalid(fmt::format("Invalid page token, parsed value={}", json::serialize(*v)));
  return o->get_int64();
}

}  // namespace mr::tracking
