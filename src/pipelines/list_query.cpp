#include "pipelines/list_query.h"

#include <array>

#include "json/parse.h"
#include "text/text.h"

namespace mr::pipelines {

namespace {

using CT = ColumnType;
template <std::size_t A, std::size_t B>
constexpr std::array<ListField, A + B> with(const ListField (&some)[A], const ListField (&more)[B]) {
  std::array<ListField, A + B> all;
  std::ranges::copy(some, all.begin());
  std::ranges::copy(more, all.begin() + A);
  return all;
}

// The second spellings of a column are those of the older API, which clients still send.
constexpr ListField common_fields[] = {
    {"id", "id"}, {"name", "name"}, {"description", "description"}, {"created_at", "created_ms", CT::time}};
constexpr auto experiment_fields = with(common_fields, {{"experiment_id", "id"},
                                                        {"display_name", "name"},
                                                        {"namespace", "ns"},
                                                        {"storage_state", "storage_state"},
                                                        {"last_run_created_at", "last_run_ms", CT::time}});
constexpr auto pipeline_fields =
    with(common_fields, {{"pipeline_id", "id"}, {"display_name", "display_name"}, {"namespace", "ns"}});
constexpr auto version_fields = with(common_fields, {{"pipeline_version_id", "id"}, {"display_name", "display_name"}});
constexpr auto run_fields = with(common_fields, {{"run_id", "id"},
                                                 {"display_name", "name"},
                                                 {"namespace", "ns"},
                                                 {"experiment_id", "experiment_id"},
                                                 {"recurring_run_id", "recurring_run_id"},
                                                 {"pipeline_id", "pipeline_id"},
                                                 {"pipeline_version_id", "version_id"},
                                                 {"state", "state"},
                                                 {"status", "state"},
                                                 {"storage_state", "storage_state"},
                                                 {"scheduled_at", "scheduled_ms", CT::time},
                                                 {"finished_at", "finished_ms", CT::time}});
constexpr auto recurring_fields = with(common_fields, {{"recurring_run_id", "id"},
                                                       {"display_name", "name"},
                                                       {"namespace", "ns"},
                                                       {"experiment_id", "experiment_id"},
                                                       {"updated_at", "updated_ms", CT::time}});
constexpr ListField artifact_fields[] = {{"artifact_id", "n", CT::integer},
                                         {"id", "n", CT::integer},
                                         {"name", "name"},
                                         {"uri", "uri"},
                                         {"type", "type"},
                                         {"namespace", "ns"},
                                         {"created_at", "created_ms", CT::time}};
constexpr ListField use_fields[] = {{"id", "n", CT::integer}, {"created_at", "created_ms", CT::time}};

using Op = Predicate::Op;
constexpr std::pair<Op, std::string_view> op_names[] = {
    {Op::equals, "eq"}, {Op::not_equals, "ne"},  {Op::greater, "gt"}, {Op::greater_equals, "ge"},
    {Op::less, "lt"},   {Op::less_equals, "le"}, {Op::in, "in"},      {Op::substring, "sub"}};

Value predicate_document(const Predicate& p) {
  std::string_view name;
  for (const auto& [op, text] : op_names)
    if (op == p.op) name = text;
  Array values(p.values.begin(), p.values.end());
  return Array{Value(name), Value(p.key), Value(std::move(values))};
}

std::unexpected<Error> bad_token() { return fail(Code::invalid_argument, "Invalid page token"); }

Result<Predicate> read_predicate(const Value& v) {
  if (!v.is_array() || v.get_array().size() != 3) return bad_token();
  const auto& a = v.get_array();
  if (!a[0].is_string() || !a[1].is_string() || !a[2].is_array()) return bad_token();
  Predicate p;
  bool known = false;
  for (const auto& [op, text] : op_names)
    if (text == std::string_view(a[0].get_string())) {
      p.op = op;
      known = true;
    }
  if (!known) return bad_token();
  p.key = a[1].get_string();
  for (const auto& x : a[2].get_array()) {
    if (!x.is_string() && !x.is_int64()) return bad_token();
    p.values.push_back(x);
  }
  if (p.values.empty() && p.op != Op::in) return bad_token();
  return p;
}

std::string_view symbol(Op op) {
  switch (op) {
    case Op::not_equals:
      return "<>";
    case Op::greater:
      return ">";
    case Op::greater_equals:
      return ">=";
    case Op::less:
      return "<";
    case Op::less_equals:
      return "<=";
    default:
      return "=";
  }
}

std::int64_t whole_second(const Value& v) {
  const std::int64_t ms = v.get_int64();
  return (ms >= 0 ? ms / 1000 : (ms - 999) / 1000) * 1000;
}

// The wire shows whole seconds, so a time stands for its whole second.
void time_condition(SqlText& out, std::string_view column, Op op, const Value& v) {
  const std::int64_t from = whole_second(v), next = from + 1000;
  auto simple = [&](std::string_view sign, std::int64_t bound) {
    out.add(fmt::format("{} {} ?", column, sign));
    out.integer(bound);
  };
  if (op == Op::greater) return simple(">=", next);
  if (op == Op::greater_equals) return simple(">=", from);
  if (op == Op::less) return simple("<", from);
  if (op == Op::less_equals) return simple("<", next);
  out.add(fmt::format("{1}({0} >= ? AND {0} < ?)", column, op == Op::not_equals ? "NOT " : ""));
  out.integer(from);
  out.integer(next);
}

Result<void> condition(const Collection& c, const Predicate& p, SqlText& out) {
  if (c.tags && p.key.starts_with("tags.")) {
    if (p.op != Op::equals || !p.values[0].is_string())
      return fail(Code::invalid_argument,
                  fmt::format("only EQUALS operation is supported for tag filtering, key \"{}\"", p.key));
    out.add("id IN (SELECT owner FROM tags WHERE key = ? AND value = ?)");
    out.text(p.key.substr(5));
    out.value(p.values[0]);
    return {};
  }
  const auto* f = find_field(c, p.key);
  if (f == nullptr)
    return fail(Code::invalid_argument, fmt::format("no support for filtering on unrecognized field \"{}\"", p.key));
  for (const auto& v : p.values)
    if (v.is_string() != (f->type == CT::text))
      return fail(Code::invalid_argument, fmt::format("the field \"{}\" is compared with {}", p.key,
                                                      f->type == CT::text   ? "string values"
                                                      : f->type == CT::time ? "a timestamp_value"
                                                                            : "integer values"));
  if (p.op == Op::in) {
    if (p.values.empty()) {
      out.add("0");
      return {};
    }
    if (f->type == CT::time) {
      out.add("(");
      for (std::size_t i = 0; i < p.values.size(); ++i) {
        if (i > 0) out.add(" OR ");
        time_condition(out, f->column, Op::equals, p.values[i]);
      }
      out.add(")");
      return {};
    }
    out.add(fmt::format("{} IN (", f->column));
    for (std::size_t i = 0; i < p.values.size(); ++i) {
      out.add(i == 0 ? "?" : ",?");
      out.value(p.values[i]);
    }
    out.add(")");
    return {};
  }
  if (p.op == Op::substring) {
    if (f->type != CT::text)
      return fail(Code::invalid_argument, fmt::format("IS_SUBSTRING needs a text field, not \"{}\"", p.key));
    out.add(fmt::format("instr(lower({}), ?) > 0", f->column));
    out.text(text::lower(p.values[0].get_string()));
    return {};
  }
  if (f->type == CT::time) {
    time_condition(out, f->column, p.op, p.values[0]);
    return {};
  }
  // Of two states one is the other's negation: so an index serves it.
  if (p.op == Op::not_equals && f->column == "storage_state") {
    const std::string_view v = p.values[0].get_string();
    if (v == "ARCHIVED" || v == "AVAILABLE") {
      out.add("storage_state = ?");
      out.text(v == "ARCHIVED" ? "AVAILABLE" : "ARCHIVED");
      return {};
    }
  }
  // The index of schedules' runs leaves the others out, and is used only for what says so too.
  if (p.op == Op::equals && f->column == "recurring_run_id") out.add("recurring_run_id <> '' AND ");
  out.add(fmt::format("{} {} ?", f->column, symbol(p.op)));
  out.value(p.values[0]);
  return {};
}

std::int64_t page_rows(const ListQuery& q) { return std::clamp<std::int64_t>(q.page_size, 1, 200); }

// Whether a predicate names so few rows that they are better found by it and then sorted, than met in order of the
// sort.
bool names_few(const Collection& c, const ListQuery& q) {
  return std::ranges::any_of(q.all_of, [&](const Predicate& p) {
    const auto* f = find_field(c, p.key);
    return f != nullptr && (p.op == Op::equals || p.op == Op::in) &&
           (f->column == "name" || f->column == "recurring_run_id");
  });
}

}  // namespace

const Collection kExperiments = {"experiments", "Experiment", experiment_fields};
const Collection kPipelines = {"pipelines", "Pipeline", pipeline_fields, true};
const Collection kVersions = {"versions", "PipelineVersion", version_fields, true};
const Collection kRuns = {"runs", "Run", run_fields};
const Collection kRecurringRuns = {"recurring_runs", "Job", recurring_fields};
const Collection kArtifacts = {"artifacts", "Artifact", artifact_fields};
const Collection kArtifactUses = {"artifact_uses", "ArtifactTask", use_fields};

const ListField* find_field(const Collection& c, std::string_view name) {
  for (const auto& f : c.fields)
    if (f.name == name) return &f;
  return nullptr;
}

std::string token_text(const PageToken& t) {
  Object o{{"s", t.sort_key}, {"v", t.value}, {"n", t.n}};
  if (t.descending) o["d"] = true;
  if (!t.filter.is_null()) o["f"] = t.filter;
  return text::base64_encode(json::serialize(o));
}

Result<PageToken> parse_token(std::string_view s) {
  auto bytes = text::base64_decode(s);
  if (!bytes) return bad_token();
  auto v = json::parse(*bytes, 16);
  if (!v || !v->is_object()) return bad_token();
  const auto *value = json::find(*v, "v"), *n = json::find(*v, "n"), *f = json::find(*v, "f"), *d = json::find(*v, "d");
  PageToken t;
  t.sort_key = json::string_or_empty(*v, "s");
  if (t.sort_key.empty() || value == nullptr || n == nullptr || !n->is_int64()) return bad_token();
  if (!value->is_string() && !value->is_int64()) return bad_token();
  t.value = *value;
  t.n = n->get_int64();
  t.descending = d != nullptr && d->is_bool() && d->get_bool();
  if (f != nullptr) t.filter = *f;
  return t;
}

Value filter_document(const ListQuery& q) {
  if (q.all_of.empty() && q.any_of.empty()) return nullptr;
  Array all, any;
  for (const auto& p : q.all_of) all.push_back(predicate_document(p));
  for (const auto& group : q.any_of) {
    Array one;
    for (const auto& p : group) one.push_back(predicate_document(p));
    any.push_back(std::move(one));
  }
  return Array{Value(std::move(all)), Value(std::move(any))};
}

Result<void> read_filter_document(const Value& document, ListQuery& q) {
  q.all_of.clear();
  q.any_of.clear();
  if (document.is_null()) return {};
  if (!document.is_array() || document.get_array().size() != 2) return bad_token();
  const auto &all = document.get_array()[0], &any = document.get_array()[1];
  if (!all.is_array() || !any.is_array()) return bad_token();
  for (const auto& v : all.get_array()) {
    MR_TRY(auto p, read_predicate(v));
    q.all_of.push_back(std::move(p));
  }
  for (const auto& group : any.get_array()) {
    if (!group.is_array()) return bad_token();
    auto& out = q.any_of.emplace_back();
    for (const auto& v : group.get_array()) {
      MR_TRY(auto p, read_predicate(v));
      out.push_back(std::move(p));
    }
  }
  return {};
}

void SqlText::value(const Value& v) {
  if (v.is_string())
    text(std::string(v.get_string()));
  else
    integer(v.is_int64() ? v.get_int64() : 0);
}

void SqlText::append(const SqlText& other) {
  sql += other.sql;
  for (const auto& a : other.args_) {
    if (a.kind == sql::Arg::Kind::text)
      text(std::string(a.s));
    else
      args_.push_back(a);
  }
}

Result<SqlText> predicates_sql(const Collection& c, const ListQuery& q) {
  SqlText out;
  for (const auto& p : q.all_of) {
    out.add(" AND ");
    MR_CHECK(condition(c, p, out));
  }
  for (const auto& group : q.any_of) {
    out.add(" AND (");
    bool first = true;
    for (const auto& p : group) {
      if (!std::exchange(first, false)) out.add(" OR ");
      MR_CHECK(condition(c, p, out));
    }
    out.add(first ? "0)" : ")");
  }
  return out;
}

bool only_fields(const ListQuery& q, std::initializer_list<std::string_view> names) {
  auto among = [&](const Predicate& p) { return std::ranges::find(names, p.key) != names.end(); };
  return std::ranges::all_of(q.all_of, among) &&
         std::ranges::all_of(q.any_of, [&](const auto& g) { return std::ranges::all_of(g, among); });
}

Result<SqlText> list_sql(const Collection& collection, const ListQuery& q, std::string_view columns,
                         const SqlText& scope) {
  const auto* sort = find_field(collection, q.sort_key);
  if (sort == nullptr)
    return fail(Code::invalid_argument,
                fmt::format("Invalid sorting field: \"{}\" on listable type {}", q.sort_key, collection.singular));
  MR_TRY(auto predicates, predicates_sql(collection, q));
  SqlText list;
  list.add(fmt::format("SELECT {}, n, {} FROM {} WHERE ", columns, sort->column, collection.table));
  list.append(scope);
  list.append(predicates);
  if (!q.page_token.empty()) {
    MR_TRY(auto token, parse_token(q.page_token));
    if (token.sort_key != q.sort_key || token.descending != q.descending || token.filter != filter_document(q))
      return fail(Code::invalid_argument,
                  "page token does not match the supplied sort by and/or filtering criteria. Either specify the same "
                  "criteria or leave the latter empty if page token is specified");
    if (token.value.is_string() != (sort->type == CT::text)) return bad_token();
    list.add(fmt::format(" AND ({}, n) {} (?, ?)", sort->column, q.descending ? "<" : ">"));
    list.value(token.value);
    list.integer(token.n);
  }
  const auto* direction = q.descending ? "DESC" : "ASC";
  // A sign in front of a column keeps its index out of the plan.
  const auto* sign = names_few(collection, q) ? "+" : "";
  list.add(fmt::format(" ORDER BY {2}{0} {1}, {2}n {1} LIMIT ?", sort->column, direction, sign));
  list.integer(page_rows(q) + 1);
  return list;
}

Result<void> run_list(sql::Connection& c, const Collection& collection, const ListQuery& q, std::string_view columns,
                      std::string_view types, const SqlText& scope, const SqlText* count,
                      const std::function<void(const sql::Row&)>& row, std::int64_t& total, std::string& next_token) {
  MR_TRY(auto list, list_sql(collection, q, columns, scope));
  const bool text_key = find_field(collection, q.sort_key)->type == CT::text;
  const auto size = page_rows(q);
  const auto all_types = fmt::format("{}i{}", types, text_key ? 's' : 'i');
  const std::size_t at = types.size();
  std::int64_t seen = 0, last_n = 0;
  Value last_value;
  bool more = false;
  MR_CHECK(c.query(list.sql, all_types, list.args(), [&](const sql::Row& r) {
    if (++seen > size) {
      more = true;
      return;
    }
    row(r);
    last_n = r.i64(at);
    last_value = text_key ? Value(r.text(at + 1)) : Value(r.i64(at + 1));
  }));
  if (more) next_token = token_text({q.sort_key, q.descending, filter_document(q), std::move(last_value), last_n});
  // A first page that holds everything needs no counting.
  if (q.page_token.empty() && !more) {
    total = seen;
    return {};
  }
  if (count != nullptr) return c.query(count->sql, "i", count->args(), [&](const sql::Row& r) { total = r.i64(0); });
  SqlText counting;
  counting.add(fmt::format("SELECT COUNT(*) FROM {} WHERE ", collection.table));
  counting.append(scope);
  MR_TRY(auto predicates, predicates_sql(collection, q));
  counting.append(predicates);
  return c.query(counting.sql, "i", counting.args(), [&](const sql::Row& r) { total = r.i64(0); });
}

}  // namespace mr::pipelines
