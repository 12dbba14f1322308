#include "json/parse.h"
#include "json/writer.h"
#include "kube/json_path.h"
#include "kube/table_cells.h"
#include "kube/wire.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

using json::Writer;

constexpr std::string_view name_doc = "Name of the object; unique among those of its kind in its namespace.";

bool explicit_name(const KindVersion& v) {
  return std::ranges::any_of(v.columns, [](const Column& c) { return c.name == "Name"; });
}

// A value as Go's template printer shows it in a column of texts: texts bare, everything else as JSON.
Value as_text(const Value& v) {
  if (v.is_string()) return v;
  return Value(json::serialize(v));
}

Value custom_cell(const Column& c, const Object& o, std::int64_t now) {
  const auto found = json_path(o, c.path);
  if (found.empty()) return nullptr;
  const auto& v = *found.front();
  if (c.type == "string") return v.is_null() ? Value(nullptr) : as_text(v);
  if (c.type == "date") {
    if (!v.is_string()) return nullptr;
    const std::string_view text = v.get_string();
    return table::parse_time(text) ? Value(table::age_of(text, now)) : Value("<invalid>");
  }
  if (c.type == "boolean") return v.is_bool() ? v : Value(nullptr);
  if (c.type == "integer") {
    if (v.is_int64() || v.is_uint64()) return v;
    if (v.is_double() && std::abs(v.get_double()) < 9e15) return static_cast<std::int64_t>(v.get_double());
  }
  if (c.type == "number" && v.is_number()) return v;
  return nullptr;
}

// A column with its cell function, looked up once for all rows.
struct Ready {
  const Column* column;
  table::Cell cell;
};
std::vector<Ready> ready(const std::vector<Column>& columns) {
  std::vector<Ready> out;
  for (const auto& c : columns) out.push_back({&c, c.cell.empty() ? nullptr : table::find_cell(c.cell)});
  return out;
}

Value cell_of(const Ready& r, const Kind& kind, const Object& o, std::int64_t now) {
  const auto& c = *r.column;
  if (r.cell) return r.cell(o, now);
  if (!c.path.empty()) {
    if (kind.crd) return custom_cell(c, o, now);
    const auto found = json_path(o, c.path);
    return found.empty() ? Value(nullptr) : *found.front();
  }
  if (c.cell == "name") return Value(name_of(o));
  if (c.cell == "age") return Value(table::age_of(text_at(o, "metadata.creationTimestamp"), now));
  return Value(int_at(o, c.cell));  // a counter: what is not written is 0
}

// Clients may leave out rows of what has ended.
Object row_condition(const Kind& kind, const Object& o) {
  if (!kind.group.empty() || kind.kind != "Pod") return {};
  const auto phase = text_at(o, "status.phase");
  if (phase == "Succeeded")
    return {{"type", "Completed"},
            {"status", "True"},
            {"reason", "Succeeded"},
            {"message", "The pod has completed successfully."}};
  if (phase == "Failed")
    return {{"type", "Completed"}, {"status", "True"}, {"reason", "Failed"}, {"message", "The pod failed."}};
  return {};
}

void definitions(Writer& w, const std::vector<Column>& columns) {
  w.key("columnDefinitions");
  w.begin_array();
  for (const auto& c : columns) {
    w.begin_object();
    w.field("name", c.name);
    w.field("type", c.type);
    w.field("format", c.format);
    w.field("description", c.description);
    w.field("priority", c.priority);
    w.end_object();
  }
  w.end_array();
}

}  // namespace

std::vector<Column> table_columns(const Kind& kind, const KindVersion& version) {
  std::vector<Column> out;
  if (!explicit_name(version)) out.push_back({"Name", "string", "name", std::string(name_doc), {}, "name", 0});
  for (const auto& c : version.columns) {
    out.push_back(c);
    auto& added = out.back();
    if (added.name == "Name") added.format = "name";
    if (added.description.empty() && !added.path.empty())
      added.description = fmt::format("Custom resource definition column (in JSONPath format): {}", added.path);
  }
  if (out.size() == 1 && !explicit_name(version)) {
    // A kind without a printer shows when its objects were made; a custom kind's column is their age.
    if (kind.crd)
      out.push_back({"Age", "date", {}, "Time since its creation.", ".metadata.creationTimestamp", {}, 0});
    else
      out.push_back({"Created At", "date", {}, "When it was made.", ".metadata.creationTimestamp", {}, 0});
  }
  return out;
}

Array table_cells(const Kind& kind, const KindVersion& version, const Object& object) {
  const auto now = time::now_ms();
  Array cells;
  const auto columns = table_columns(kind, version);
  for (const auto& c : ready(columns)) cells.push_back(cell_of(c, kind, object, now));
  return cells;
}

std::string table_document(const Kind& kind, const KindVersion& version, const std::vector<ObjectPtr>& objects,
                           std::string_view list_metadata_json, TableOptions options, bool columns) {
  const auto now = time::now_ms();
  const auto all = table_columns(kind, version);
  const auto row = ready(all);
  std::string out;
  Writer w(out);
  w.begin_object();
  w.field("kind", std::string_view("Table"));
  const auto api_version = fmt::format("meta.k8s.io/{}", options.version);
  w.field("apiVersion", api_version);
  w.key("metadata");
  w.raw(list_metadata_json.empty() ? std::string_view("{}") : list_metadata_json);
  if (columns) {
    definitions(w, all);
  } else {
    w.key("columnDefinitions");
    w.null();
  }
  w.key("rows");
  w.begin_array();
  for (const auto& o : objects) {
    w.begin_object();
    w.key("cells");
    w.begin_array();
    for (const auto& c : row) w.raw(json::serialize(cell_of(c, kind, *o, now)));
    w.end_array();
    if (const auto ended = row_condition(kind, *o); !ended.empty()) {
      w.key("conditions");
      w.raw(json::serialize(Array{ended}));
    }
    w.key("object");
    if (options.no_object) {
      w.null();
    } else {
      if (options.full_object) {
        w.raw(json::serialize(*o));
      } else {
        w.begin_object();
        w.field("kind", std::string_view("PartialObjectMetadata"));
        w.field("apiVersion", api_version);
        if (const auto* m = o->if_contains("metadata")) {
          w.key("metadata");
          w.raw(json::serialize(*m));
        }
        w.end_object();
      }
    }
    w.end_object();
  }
  w.end_array();
  w.end_object();
  return out;
}

}  // namespace mr::kube
