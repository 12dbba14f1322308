#include "kube/kinds_parse.h"

#include "text/text.h"

namespace mr::kube {

namespace {

struct Scalar {
  std::string_view name;
  FieldType type;
};
constexpr Scalar scalars[] = {
    {"string", FieldType::string},     {"bool", FieldType::boolean},         {"int32", FieldType::int32},
    {"int64", FieldType::int64},       {"number", FieldType::number},        {"bytes", FieldType::bytes},
    {"time", FieldType::time},         {"microtime", FieldType::micro_time}, {"duration", FieldType::duration},
    {"quantity", FieldType::quantity}, {"intstr", FieldType::int_or_string}, {"any", FieldType::any},
};
constexpr std::string_view all_verbs[] = {"create", "delete", "deletecollection", "get",
                                          "list",   "patch",  "update",           "watch"};

// One line as words; a word may be in double quotes. The description after " : " is apart.
struct Line {
  std::vector<std::string_view> words;
  std::string_view doc;
  bool indented = false;
};

Line split_line(std::string_view text) {
  Line line;
  line.indented = text.starts_with(' ');
  std::size_t i = 0;
  while (true) {
    while (i < text.size() && text[i] == ' ') ++i;
    if (i >= text.size()) return line;
    if (text[i] == ':' && (i + 1 == text.size() || text[i + 1] == ' ')) {
      line.doc = text::trim(text.substr(i + 1));
      return line;
    }
    const bool quoted = text[i] == '"';
    const auto start = quoted ? i + 1 : i;
    const auto end = std::min(text.find(quoted ? '"' : ' ', start), text.size());
    line.words.push_back(text.substr(start, end - start));
    i = quoted ? end + 1 : end;
  }
}

class Parser {
 public:
  Parser(std::string_view file, Descriptions& d) : file_(file), d_(d) {}

  Result<void> run(std::string_view text) {
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      const auto raw = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      ++number_;
      if (raw.empty() || raw.starts_with('#')) continue;
      const auto line = split_line(raw);
      if (line.words.empty()) continue;
      if (line.indented && kind_)
        MR_CHECK(kind_line(line));
      else if (line.indented && type_)
        MR_CHECK(field_line(line));
      else if (line.indented)
        return wrong("an indented line belongs to a type or a kind");
      else
        MR_CHECK(top_line(line));
    }
    finish_kind();
    return {};
  }

 private:
  [[nodiscard]] std::string where() const { return fmt::format("{}:{}", file_, number_); }
  [[nodiscard]] std::unexpected<Error> wrong(std::string_view what) const {
    return fail(Code::internal, fmt::format("{}: {}", where(), what));
  }

  [[nodiscard]] std::string full_name(std::string_view name) const {
    const auto dot = name.find('.');
    if (dot == std::string_view::npos) return fmt::format("{}.{}", package_, name);
    if (name.find('.', dot + 1) != std::string_view::npos) return std::string(name);
    for (const auto& [alias, package] : aliases_)
      if (name.substr(0, dot) == alias) return fmt::format("{}.{}", package, name.substr(dot + 1));
    return std::string(name);
  }

  Result<void> top_line(const Line& line) {
    const auto& w = line.words;
    finish_kind();
    if (w[0] == "alias" && w.size() == 3) {
      aliases_.emplace_back(w[1], w[2]);
    } else if (w[0] == "package" && w.size() == 2) {
      package_ = w[1];
      type_ = nullptr;
    } else if (w[0] == "type" && (w.size() == 2 || (w.size() == 3 && w[2] == "preserve"))) {
      auto& t = d_.types.emplace_back();
      t.name = fmt::format("{}.{}", package_, w[1]);
      t.doc = line.doc;
      t.preserve_unknown = w.size() == 3;
      type_ = &t;
      if (!d_.by_name.emplace(t.name, &t).second) return wrong("this type is there already");
    } else if (w[0] == "kind" && w.size() == 2) {
      type_ = nullptr;
      kind_ = std::make_shared<Kind>();
      kind_->kind = w[1];
    } else {
      return wrong("neither alias, package, type nor kind");
    }
    return {};
  }

  Result<void> field_line(const Line& line) {
    const auto& w = line.words;
    if (w.size() < 2) return wrong("a field has a name and a type");
    auto& f = type_->fields.emplace_back();
    f.name = w[0];
    f.doc = line.doc;
    auto type = w[1];
    if (type.starts_with("[]") || type.starts_with("{}")) {
      f.container = type[0] == '[' ? Container::list : Container::map;
      type.remove_prefix(2);
    }
    const auto* scalar = std::ranges::find(scalars, type, &Scalar::name);
    if (scalar != std::end(scalars)) {
      f.type = scalar->type;
    } else {
      f.type = FieldType::object;
      d_.pending.push_back({type_, type_->fields.size() - 1, full_name(type), where()});
    }
    for (std::size_t i = 2; i < w.size(); ++i) MR_CHECK(attribute(f, w[i]));
    return {};
  }

  Result<void> attribute(Field& f, std::string_view a) {
    const auto eq = a.find('=');
    const auto key = a.substr(0, eq);
    const auto value = eq == std::string_view::npos ? std::string_view{} : a.substr(eq + 1);
    if (const auto n = text::to_u64(a)) {
      f.proto = static_cast<std::uint16_t>(*n);
    } else if (key == "required") {
      f.required = true;
    } else if (key == "nullable") {
      f.nullable = true;
    } else if (key == "atomic") {
      f.atomic_map = true;
    } else if (key == "set") {
      f.list_kind = ListKind::set;
    } else if (key == "keys") {
      f.list_kind = ListKind::map;
      for (const auto k : text::split(value, ',')) f.list_keys.emplace_back(k);
    } else if (key == "merge") {
      f.merge = true;
      f.merge_key = value;
    } else if (key == "retainkeys") {
      f.retain_keys = true;
    } else if (key == "enum") {
      for (const auto e : text::split(value, '|')) f.enums.emplace_back(e);
    } else if (key == "opt") {
      f.optional = true;
    } else if (key == "go") {
      f.go_type = value;
    } else if (key == "default") {
      f.fallback = value;
    } else if (key == "in") {
      const auto outer = text::to_u64(value);
      if (!outer) return wrong("in= wants a number");
      f.proto_in = static_cast<std::uint16_t>(*outer);
    } else {
      return wrong(fmt::format("no attribute \"{}\"", a));
    }
    return {};
  }

  static void append(std::vector<std::string>& to, const std::vector<std::string_view>& words, std::size_t from) {
    for (auto i = from; i < words.size(); ++i) to.emplace_back(words[i]);
  }

  Result<void> kind_line(const Line& line) {
    const auto& w = line.words;
    const auto what = w[0];
    if (what == "group" && w.size() == 2) {
      kind_->group = w[1];
    } else if (what == "names" && w.size() >= 2) {
      kind_->plural = w[1];
      if (w.size() > 2) kind_->singular = w[2];
      append(kind_->short_names, w, 3);
    } else if (what == "list" && w.size() == 2) {
      kind_->list_kind = w[1];
    } else if (what == "categories") {
      append(kind_->categories, w, 1);
    } else if (what == "cluster") {
      kind_->namespaced = false;
    } else if (what == "crd") {
      kind_->crd = true;
    } else if (what == "virtual") {
      kind_->virtual_kind = true;
      kind_->verbs = {"create"};
    } else if (what == "verbs") {
      append(kind_->verbs, w, 1);
    } else if (what == "sub") {
      append(kind_->subresources, w, 1);
    } else if (what == "select") {
      append(kind_->selectable, w, 1);
    } else if (what == "generation") {
      kind_->generation = true;
    } else if (what == "deprecated" && !kind_->versions.empty()) {
      auto& text = kind_->versions.back().deprecation;
      for (std::size_t i = 1; i < w.size(); ++i) text.append(i > 1 ? " " : "").append(w[i]);
    } else if (what == "version" && w.size() >= 3) {
      MR_CHECK(version_line(w));
    } else if (what == "column" && w.size() >= 4) {
      MR_CHECK(column_line(line));
    } else {
      return wrong(fmt::format("no statement \"{}\" of a kind", what));
    }
    return {};
  }

  Result<void> version_line(const std::vector<std::string_view>& w) {
    auto& v = kind_->versions.emplace_back();
    v.name = w[1];
    if (w[2] != "any")
      d_.pending_schemas.push_back({kind_.get(), kind_->versions.size() - 1, full_name(w[2]), where()});
    for (std::size_t i = 3; i < w.size(); ++i) {
      if (w[i] == "storage") {
        v.storage = true;
      } else if (w[i] == "unserved") {
        v.served = false;
      } else if (w[i] == "status") {
        v.status = true;
      } else if (w[i].starts_with("scale=")) {
        const auto paths = text::split(w[i].substr(6), ',');
        if (paths.size() != 3) return wrong("scale= wants three paths");
        v.scale = true;
        v.scale_spec = paths[0];
        v.scale_status = paths[1];
        v.scale_selector = paths[2];
      } else {
        return wrong(fmt::format("no attribute \"{}\" of a version", w[i]));
      }
    }
    return {};
  }

  Result<void> column_line(const Line& line) {
    const auto& w = line.words;
    Column c;
    c.name = w[1];
    c.type = w[2];
    (w[3].starts_with('.') ? c.path : c.cell) = w[3];
    c.description = line.doc;
    for (std::size_t i = 4; i < w.size(); ++i) {
      if (w[i] == "wide")
        c.priority = 1;
      else if (w[i].starts_with("format="))
        c.format = w[i].substr(7);
      else
        return wrong(fmt::format("no attribute \"{}\" of a column", w[i]));
    }
    (kind_->versions.empty() ? shared_columns_ : kind_->versions.back().columns).push_back(std::move(c));
    return {};
  }

  void finish_kind() {
    if (!kind_) return;
    if (kind_->list_kind.empty()) kind_->list_kind = kind_->kind + "List";
    if (kind_->verbs.empty()) kind_->verbs.assign(std::begin(all_verbs), std::end(all_verbs));
    for (auto& v : kind_->versions)
      if (v.columns.empty()) v.columns = shared_columns_;
    shared_columns_.clear();
    d_.kinds.push_back(std::move(kind_));
    kind_.reset();
  }

  std::string_view file_;
  Descriptions& d_;
  std::size_t number_ = 0;
  std::string package_;
  std::vector<std::pair<std::string, std::string>> aliases_;
  Type* type_ = nullptr;
  std::shared_ptr<Kind> kind_;
  std::vector<Column> shared_columns_;
};

}  // namespace

Result<void> parse_descriptions(std::string_view text, std::string_view file, Descriptions& into) {
  return Parser(file, into).run(text);
}

Result<void> resolve_descriptions(Descriptions& d) {
  for (const auto& p : d.pending) {
    const auto it = d.by_name.find(p.name);
    if (it == d.by_name.end()) return fail(Code::internal, fmt::format("{}: no type {}", p.where, p.name));
    p.type->fields[p.field].ref = it->second;
  }
  for (const auto& p : d.pending_schemas) {
    const auto it = d.by_name.find(p.name);
    if (it == d.by_name.end()) return fail(Code::internal, fmt::format("{}: no type {}", p.where, p.name));
    p.kind->versions[p.version].schema = it->second;
  }
  d.pending.clear();
  d.pending_schemas.clear();
  for (auto& k : d.kinds) {
    if (k->plural.empty() || k->versions.empty())
      return fail(Code::internal, k->kind + ": a kind has names and versions");
  }
  return {};
}

}  // namespace mr::kube
