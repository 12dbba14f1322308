#include "pipelines/placeholders.h"

#include "json/parse.h"
#include "pipelines/value.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::string_view kWorkspace = "/kfp-workspace/.artifacts";
constexpr std::array<std::string_view, 9> kVariables = {"pipeline_job_name",
                                                        "pipeline_job_resource_name",
                                                        "pipeline_job_uuid",
                                                        "pipeline_task_name",
                                                        "pipeline_task_uuid",
                                                        "pipeline_job_create_time_utc",
                                                        "pipeline_root",
                                                        "workspace_path",
                                                        "pipeline_job_schedule_time_utc"};

struct Placeholder {
  enum class Part : std::uint8_t { whole, path, uri, metadata };
  PlaceholderUse::Kind kind = PlaceholderUse::Kind::executor_input;
  bool output_file = false;  // of kind executor_input: {{$.outputs.output_file}}
  std::string name;
  Part part = Part::whole;
  std::optional<std::string> key;  // metadata['key']
  std::string_view text;           // with its braces
};

// Reads what stands between "{{$." and "}}".
class PlaceholderParser {
 public:
  explicit PlaceholderParser(std::string_view text) : rest_(text) {}

  // The placeholder, and how much of the text it took (up to and with "}}").
  std::optional<std::pair<Placeholder, std::size_t>> run() {
    const auto whole = rest_;
    Placeholder p;
    if (!read(p) || !accept("}}")) return std::nullopt;
    return std::pair(std::move(p), whole.size() - rest_.size());
  }

 private:
  bool accept(std::string_view s) {
    if (!rest_.starts_with(s)) return false;
    rest_.remove_prefix(s.size());
    return true;
  }
  std::string_view word() {
    std::size_t n = 0;
    while (n < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[n])) != 0 || rest_[n] == '_')) ++n;
    const auto w = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return w;
  }
  // ['name'] or ["name"]; the SDK escapes nothing in it, so it ends at the first quote before a bracket.
  bool bracketed(std::string& name) {
    if (!rest_.starts_with("['") && !rest_.starts_with("[\"")) return false;
    const std::array<char, 2> closing = {rest_[1], ']'};
    rest_.remove_prefix(2);
    const auto end = rest_.find(std::string_view(closing.data(), 2));
    if (end == std::string_view::npos || end == 0) return false;
    name = rest_.substr(0, end);
    rest_.remove_prefix(end + 2);
    return true;
  }

  bool read(Placeholder& p) {
    using Kind = PlaceholderUse::Kind;
    const auto head = word();
    if (head == "outputMetadataUri") return p.output_file = true;
    if (head != "inputs" && head != "outputs") {
      p.kind = Kind::variable;
      p.name = head;
      return std::ranges::find(kVariables, head) != kVariables.end();
    }
    const bool input = head == "inputs";
    if (!accept(".")) return false;
    const auto what = word();
    if (!input && (what == "output_file" || what == "output_metadata_uri")) return p.output_file = true;
    if (what == "parameters") {
      p.kind = input ? Kind::input_parameter : Kind::output_parameter;
      return bracketed(p.name) && (input || accept(".output_file"));
    }
    if (what != "artifacts") return false;
    p.kind = input ? Kind::input_artifact : Kind::output_artifact;
    if (!bracketed(p.name)) return false;
    if (!accept(".")) return true;
    const auto part = word();
    if (part == "path") {
      p.part = Placeholder::Part::path;
    } else if (part == "uri") {
      p.part = Placeholder::Part::uri;
    } else if (part == "metadata") {
      p.part = Placeholder::Part::metadata;
      if (rest_.starts_with('[')) return bracketed(p.key.emplace());
    } else {
      return false;
    }
    return true;
  }

  std::string_view rest_;
};

std::unexpected<Error> bad_placeholder(std::string_view text, std::string_view why) {
  return fail(Code::invalid_argument, fmt::format("placeholder {}: {}", text::utf8_prefix(text, 200), why));
}

// Calls plain(text) and found(placeholder) for the parts of `text` in their order. Both return Result<>.
template <class Plain, class Found>
Result<> each_placeholder(std::string_view text, Plain plain, Found found) {
  for (;;) {
    const auto open = text.find("{{$");
    if (open == std::string_view::npos) return plain(text);
    const auto rest = text.substr(open);
    const bool whole = rest.starts_with("{{$}}");
    const bool ours = rest.size() > 4 && rest[3] == '.' && rest[4] >= 'a' && rest[4] <= 'z';
    const auto close = rest.find("}}");
    if (!whole && (!ours || close == std::string_view::npos)) {
      MR_CHECK(plain(text.substr(0, open + 3)));
      text.remove_prefix(open + 3);
      continue;
    }
    MR_CHECK(plain(text.substr(0, open)));
    Placeholder p;
    std::size_t length = 5;
    if (!whole) {
      auto parsed = PlaceholderParser(rest.substr(4)).run();
      if (!parsed) return bad_placeholder(rest.substr(0, close + 2), "it is not known");
      p = std::move(parsed->first);
      length = 4 + parsed->second;
    }
    p.text = rest.substr(0, length);
    MR_CHECK(found(p));
    text.remove_prefix(open + length);
  }
}

const Value* member(const Object& o, std::string_view a, std::string_view b, std::string_view c) {
  const auto* v = o.if_contains(a);
  if (v != nullptr) v = json::find(*v, b);
  return v == nullptr ? nullptr : json::find(*v, c);
}

// The entries of an artifact input or output; null when there is none.
const Array* entries(const PlaceholderContext& c, bool input, std::string_view name) {
  const auto* list = member(c.executor_input, input ? "inputs" : "outputs", "artifacts", name);
  if (list != nullptr) list = json::find(*list, "artifacts");
  return list == nullptr || !list->is_array() || list->get_array().empty() ? nullptr : &list->get_array();
}

Result<std::string> artifact_text(const Placeholder& p, const PlaceholderContext& c) {
  const bool input = p.kind == PlaceholderUse::Kind::input_artifact;
  const auto* list = entries(c, input, p.name);
  if (list == nullptr) return bad_placeholder(p.text, "there is no such artifact");
  if (p.part == Placeholder::Part::whole) return to_text(Value(*list));
  MR_TRY(const auto a, artifact_from_json(list->front()));
  switch (p.part) {
    case Placeholder::Part::path:
      return c.path ? c.path(a) : local_path(a);
    case Placeholder::Part::uri:
      return a.uri;
    default:
      break;
  }
  if (!p.key) return compact_json(a.metadata);
  const auto* v = a.metadata.if_contains(*p.key);
  if (v == nullptr) return bad_placeholder(p.text, "the artifact's metadata has no such key");
  return to_text(*v);
}

Result<std::string> placeholder_text(const Placeholder& p, const PlaceholderContext& c) {
  using Kind = PlaceholderUse::Kind;
  switch (p.kind) {
    case Kind::executor_input: {
      if (!p.output_file) return compact_json(c.executor_input);
      const auto* outputs = c.executor_input.if_contains("outputs");
      const auto file = outputs == nullptr ? std::string_view{} : json::string_or_empty(*outputs, "outputFile");
      if (file.empty()) return bad_placeholder(p.text, "the task has no output file");
      return std::string(file);
    }
    case Kind::input_parameter: {
      const auto* v = member(c.executor_input, "inputs", "parameterValues", p.name);
      if (v == nullptr || v->is_null())
        if (const auto* fallback = c.default_values.if_contains(p.name); fallback != nullptr) v = fallback;
      if (v == nullptr) return bad_placeholder(p.text, "the parameter has no value");
      return to_text(*v);
    }
    case Kind::output_parameter: {
      const auto* o = member(c.executor_input, "outputs", "parameters", p.name);
      if (o == nullptr) return bad_placeholder(p.text, "there is no such output parameter");
      return std::string(json::string_or_empty(*o, "outputFile"));
    }
    case Kind::input_artifact:
    case Kind::output_artifact:
      return artifact_text(p, c);
    case Kind::variable:
      if (auto it = c.variables.find(p.name); it != c.variables.end()) return it->second;
      return bad_placeholder(p.text, "it has no value here");
  }
  return bad_placeholder(p.text, "it is not known");
}

// --- structures: {"Concat": […]} and {"IfPresent": {…}} ---

std::unexpected<Error> bad_structure(std::string_view why) {
  return fail(Code::invalid_argument, fmt::format("command or argument: {}", why));
}

// The structure that `text` is, if it is one: an object whose only member has one of the two names.
Result<std::optional<Value>> structure(std::string_view text) {
  const auto t = text::trim(text);
  if (!t.starts_with('{')) return std::nullopt;
  const auto first = text::trim(t.substr(1));
  if (!first.starts_with("\"Concat\"") && !first.starts_with("\"IfPresent\"")) return std::nullopt;
  auto v = json::parse(t);
  if (!v)
    return bad_structure(
        fmt::format("{} is no valid JSON: {}", first.starts_with("\"C") ? "Concat" : "IfPresent", v.error().message));
  if (!v->is_object() || v->get_object().size() != 1)
    return bad_structure("a structure must have one member, Concat or IfPresent");
  return std::move(*v);
}

struct Branches {
  std::string_view input;
  const Value* then = nullptr;
  const Value* otherwise = nullptr;
};
Result<Branches> branches(const Value& v) {
  Branches b;
  if (!v.is_object()) return bad_structure("IfPresent must be an object");
  for (const auto& [k, e] : v.get_object()) {
    if (k == "InputName" && e.is_string())
      b.input = e.get_string();
    else if (k == "Then")
      b.then = &e;
    else if (k == "Else")
      b.otherwise = &e;
    else
      return bad_structure(fmt::format("IfPresent has a wrong member {}", std::string_view(k)));
  }
  if (b.input.empty() || b.then == nullptr) return bad_structure("IfPresent must have InputName and Then");
  if (b.otherwise != nullptr && b.otherwise->is_null()) b.otherwise = nullptr;
  return b;
}

bool present(const PlaceholderContext& c, std::string_view name) {
  if (const auto* v = member(c.executor_input, "inputs", "parameterValues", name); v != nullptr) return !v->is_null();
  return entries(c, true, name) != nullptr || member(c.executor_input, "outputs", "parameters", name) != nullptr ||
         entries(c, false, name) != nullptr;
}

// Calls on_text(text) for every text that the structure comes down to; choose() names the branches of an IfPresent that
// are walked.
template <class Choose, class Text>
Result<> walk(const Value& v, const Choose& choose, const Text& on_text) {
  if (v.is_string()) return on_text(std::string_view(v.get_string()));
  if (!v.is_object() || v.get_object().size() != 1)
    return bad_structure("an element must be a text, Concat or IfPresent");
  const auto& [kind, inner] = *v.get_object().begin();
  if (kind == "Concat") {
    if (!inner.is_array()) return bad_structure("Concat must be an array");
    for (const auto& e : inner.get_array()) MR_CHECK(walk(e, choose, on_text));
    return {};
  }
  if (kind != "IfPresent")
    return bad_structure(fmt::format("an element must be a text, Concat or IfPresent, not {}", std::string_view(kind)));
  MR_TRY(const auto b, branches(inner));
  for (const Value* branch : choose(b)) {
    if (branch == nullptr) continue;
    if (!branch->is_array()) {
      MR_CHECK(walk(*branch, choose, on_text));
      continue;
    }
    for (const auto& e : branch->get_array()) MR_CHECK(walk(e, choose, on_text));
  }
  return {};
}

// Appends the elements of the command line that `v` becomes.
Result<> expand(const Value& v, const PlaceholderContext& c, std::vector<std::string>& out) {
  auto choose = [&](const Branches& b) { return std::array{present(c, b.input) ? b.then : b.otherwise}; };
  const auto* condition = v.is_object() ? v.get_object().if_contains("IfPresent") : nullptr;
  if (condition == nullptr) {
    std::string joined;
    MR_CHECK(walk(v, choose, [&](std::string_view t) -> Result<> {
      MR_TRY(auto s, substitute(t, c));
      joined += s;
      return {};
    }));
    out.push_back(std::move(joined));
    return {};
  }
  MR_TRY(const auto b, branches(*condition));
  const auto* branch = choose(b)[0];
  if (branch == nullptr) return {};
  if (!branch->is_array()) return expand(*branch, c, out);
  for (const auto& e : branch->get_array()) MR_CHECK(expand(e, c, out));
  return {};
}

}  // namespace

std::string local_path(const Artifact& a) {
  if (!a.custom_path.empty()) return a.custom_path;
  const std::string_view uri = a.uri;
  std::string path;
  for (auto [scheme, folder] :
       {std::pair<std::string_view, std::string_view>{"gs://", "/gcs/"}, {"minio://", "/minio/"}, {"s3://", "/s3/"}})
    if (uri.starts_with(scheme)) path = std::string(folder) + std::string(uri.substr(scheme.size()));
  if (uri.starts_with("oci://")) {
    std::string image(uri.substr(6));
    std::ranges::replace(image, '/', '_');
    return "/oci/" + image + "/models";
  }
  if (path.empty()) path = uri;
  const auto* workspace = a.metadata.if_contains("_kfp_workspace");
  const bool inside = workspace != nullptr && workspace->is_bool() && workspace->get_bool();
  return inside && path.starts_with('/') ? std::string(kWorkspace) + path : path;
}

Result<std::string> substitute(std::string_view text, const PlaceholderContext& c) {
  std::string out;
  MR_CHECK(each_placeholder(
      text,
      [&](std::string_view s) -> Result<> {
        out += s;
        return {};
      },
      [&](const Placeholder& p) -> Result<> {
        MR_TRY(auto s, placeholder_text(p, c));
        out += s;
        return {};
      }));
  return out;
}

Result<std::vector<std::string>> substitute_all(const std::vector<std::string>& texts, const PlaceholderContext& c) {
  std::vector<std::string> out;
  out.reserve(texts.size());
  for (const auto& t : texts) {
    MR_TRY(const auto s, structure(t));
    if (s) {
      MR_CHECK(expand(*s, c, out));
    } else {
      MR_TRY(auto replaced, substitute(t, c));
      out.push_back(std::move(replaced));
    }
  }
  return out;
}

std::string substitute_constant(std::string_view text, const std::map<std::string, std::string>& variables) {
  if (text.starts_with("{{$.") && text.ends_with("}}")) {
    const auto name = text.substr(4, text.size() - 6);
    if (auto it = variables.find(std::string(name));
        it != variables.end() && std::ranges::find(kVariables, name) != kVariables.end())
      return it->second;
  }
  std::string out(text);
  const auto workspace = variables.find("workspace_path");
  if (workspace == variables.end()) return out;
  constexpr std::string_view kPlaceholder = "{{$.workspace_path}}";
  for (std::size_t at = out.find(kPlaceholder); at != std::string::npos;
       at = out.find(kPlaceholder, at + workspace->second.size()))
    out.replace(at, kPlaceholder.size(), workspace->second);
  return out;
}

Result<std::vector<PlaceholderUse>> placeholders_of(std::string_view text) {
  std::vector<PlaceholderUse> out;
  auto scan = [&](std::string_view t) {
    return each_placeholder(
        t, [](std::string_view) -> Result<> { return {}; },
        [&](const Placeholder& p) -> Result<> {
          out.push_back({p.kind, p.name});
          return {};
        });
  };
  MR_TRY(const auto s, structure(text));
  if (s) {
    MR_CHECK(walk(*s, [](const Branches& b) { return std::array{b.then, b.otherwise}; }, scan));
  } else {
    MR_CHECK(scan(text));
  }
  return out;
}

}  // namespace mr::pipelines
