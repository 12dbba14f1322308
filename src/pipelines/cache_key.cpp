#include "pipelines/cache_key.h"

#include <algorithm>

#include "crypto/digest.h"
#include "json/parse.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

constexpr std::string_view kIgnoreAnnotation = "pipelines.millrace.dev/cache-ignore";

// As Go writes JSON: members sorted, no spaces, and <, >, & and two separators escaped.
void write_go(const Value& v, std::string& out) {
  switch (v.kind()) {
    case boost::json::kind::object: {
      std::vector<std::string_view> keys;
      for (const auto& m : v.get_object()) keys.push_back(m.key());
      std::ranges::sort(keys);
      out += '{';
      for (bool first = true; auto k : keys) {
        if (!std::exchange(first, false)) out += ',';
        write_go(Value(k), out);
        out += ':';
        write_go(v.get_object().at(k), out);
      }
      out += '}';
      return;
    }
    case boost::json::kind::array:
      out += '[';
      for (bool first = true; const auto& x : v.get_array()) {
        if (!std::exchange(first, false)) out += ',';
        write_go(x, out);
      }
      out += ']';
      return;
    case boost::json::kind::string: {
      auto text = json::serialize(v);
      for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '<')
          out += "\\u003c";
        else if (text[i] == '>')
          out += "\\u003e";
        else if (text[i] == '&')
          out += "\\u0026";
        else if (text.compare(i, 3, "\xe2\x80\xa8") == 0 || text.compare(i, 3, "\xe2\x80\xa9") == 0) {
          out += text[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
          i += 2;
        } else {
          out += text[i];
        }
      }
      return;
    }
    default:
      out += to_text(v);
  }
}

}  // namespace

CacheKey cache_key(const NodeView& n, const std::vector<std::string>& pvc_names,
                   const std::set<std::string>& everywhere) {
  const auto& c = *n.component;
  auto ignored = everywhere;
  if (const auto* meta = c.kubernetes.if_contains("podMetadata"))
    if (const auto* annotations = json::find(*meta, "annotations"))
      for (auto name : text::split(json::string_or_empty(*annotations, kIgnoreAnnotation), ','))
        if (auto t = text::trim(name); !t.empty()) ignored.emplace(t);
  Object parts;
  Object names;
  for (const auto& [input, list] : n.input_artifacts) {
    if (ignored.contains(input)) continue;
    Array each;
    // The original's names are unique, ours are those of the outputs: the URI tells one execution's artifact from
    // another's.
    for (const auto& a : list) each.emplace_back(a.uri.empty() ? a.name : a.uri);
    names[input] = Object{{"artifactNames", std::move(each)}};
  }
  if (!names.empty()) parts["inputArtifactNames"] = std::move(names);
  auto inputs = n.inputs;
  for (const auto& name : ignored) inputs.erase(name);
  if (!inputs.empty()) parts["inputParameterValues"] = std::move(inputs);
  Object artifacts, parameters;
  for (const auto& [name, out] : c.output_artifacts) {
    Object type;
    if (out.type.instance.empty())
      type["schemaTitle"] = out.type.title;
    else
      type["instanceSchema"] = out.type.instance;
    if (!out.type.version.empty()) type["schemaVersion"] = out.type.version;
    Object one{{"name", name}, {"type", std::move(type)}};
    if (!out.metadata.empty()) one["metadata"] = out.metadata;
    artifacts[name] = std::move(one);
  }
  for (const auto& [name, type] : c.output_parameters) parameters[name] = type_name(type);
  if (!artifacts.empty()) parts["outputArtifactsSpec"] = std::move(artifacts);
  if (!parameters.empty()) parts["outputParametersSpec"] = std::move(parameters);
  Array command;
  for (const auto& list : {&c.container.command, &c.container.args})
    for (const auto& w : *list) command.emplace_back(w);
  Object container{{"image", c.container.image}, {"cmdArgs", std::move(command)}};
  if (!pvc_names.empty()) {
    auto sorted = pvc_names;
    std::ranges::sort(sorted);
    auto [first, last] = std::ranges::unique(sorted);
    sorted.erase(first, last);
    Array list;
    for (auto& p : sorted) list.emplace_back(std::move(p));
    container["pvcNames"] = std::move(list);
  }
  parts["containerSpec"] = std::move(container);
  CacheKey key;
  std::string text;
  if (n.task != nullptr && !n.task->cache_key.empty())
    text = c.name + '\0' + n.task->cache_key;
  else
    write_go(parts, text);
  key.digest = text::hex(crypto::digest(crypto::Algorithm::sha256, text));
  key.parts = std::move(parts);
  return key;
}

std::string what_changed(const Object& before, const Object& now) {
  static const Object kNone;
  auto member = [](const Object& o, std::string_view name) -> const Object& {
    const auto* v = o.if_contains(name);
    return v != nullptr && v->is_object() ? v->get_object() : kNone;
  };
  auto differing = [](const Object& a, const Object& b) {
    std::vector<std::string> names;
    for (const auto& m : b) {
      const auto* other = a.if_contains(m.key());
      if (other == nullptr || *other != m.value()) names.emplace_back(m.key());
    }
    for (const auto& m : a)
      if (!b.contains(m.key())) names.emplace_back(m.key());
    std::ranges::sort(names);
    return names;
  };
  auto joined = [](const std::vector<std::string>& names) {
    std::string out;
    for (const auto& n : names) out += (out.empty() ? "\"" : ", \"") + n + "\"";
    return out;
  };
  if (auto p = differing(member(before, "inputParameterValues"), member(now, "inputParameterValues")); !p.empty())
    return fmt::format("miss because input {} changed", joined(p));
  if (auto a = differing(member(before, "inputArtifactNames"), member(now, "inputArtifactNames")); !a.empty())
    return fmt::format("miss because input artifact {} changed", joined(a));
  auto c = differing(member(before, "containerSpec"), member(now, "containerSpec"));
  if (std::ranges::find(c, "image") != c.end()) return "miss because the image changed";
  if (std::ranges::find(c, "cmdArgs") != c.end()) return "miss because the code or command changed";
  if (!c.empty()) return "miss because the mounted claims changed";
  return "miss because its outputs changed";
}

}  // namespace mr::pipelines
