#include "json/parse.h"
#include "pipelines/cel_value.h"
#include "pipelines/value.h"
#include "text/text.h"

namespace mr::pipelines {

namespace cel {

namespace {

using Node = Expression::Node;

class CelRun {
 public:
  explicit CelRun(const Object& variables) : variables_(variables) {}

  Result<Val> eval(const Node& n) {
    switch (n.kind) {
      case Node::Kind::null:
        return Val{};
      case Node::Kind::boolean:
        return of(n.boolean);
      case Node::Kind::integer:
        return of(n.integer);
      case Node::Kind::uinteger:
        return of(n.uinteger);
      case Node::Kind::number:
        return of(n.number);
      case Node::Kind::string:
        return of(std::string_view(n.text));
      case Node::Kind::name:
        if (const auto* v = variables_.if_contains(n.text)) return of(*v, false);
        return refused(fmt::format("no such attribute(s): {}", n.text));
      case Node::Kind::list:
        return list(n);
      case Node::Kind::map:
        return map(n);
      case Node::Kind::path:
        return path(n, n.steps.size());
      case Node::Kind::call: {
        MR_TRY(auto receiver, eval(*n.children[0]));
        Val argument;
        if (n.children.size() > 1) {
          MR_TRY(argument, eval(*n.children[1]));
        }
        return call(n.function, receiver, argument, keeper_);
      }
      case Node::Kind::negate: {
        MR_TRY(auto v, eval(*n.children[0]));
        if (v.kind == Val::Kind::number) return of(-v.number);
        if (v.kind != Val::Kind::integer) return no_overload();
        if (v.integer == INT64_MIN) return refused("integer overflow");
        return of(-v.integer);
      }
      case Node::Kind::invert: {
        MR_TRY(auto v, eval(*n.children[0]));
        if (v.kind != Val::Kind::boolean) return no_overload();
        return of(!v.boolean);
      }
      case Node::Kind::all:
      case Node::Kind::any:
        return logic(n);
      case Node::Kind::chain: {
        MR_TRY(auto left, eval(*n.children[0]));
        for (std::size_t i = 0; i < n.operators.size(); ++i) {
          MR_TRY(auto right, eval(*n.children[i + 1]));
          MR_TRY(left, apply(n.operators[i], left, right));
        }
        return left;
      }
      case Node::Kind::choose: {
        MR_TRY(auto condition, eval(*n.children[0]));
        if (condition.kind != Val::Kind::boolean) return no_overload();
        return eval(*n.children[condition.boolean ? 1 : 2]);
      }
      case Node::Kind::has: {
        const auto& p = *n.children[0];
        MR_TRY(auto v, path(p, p.steps.size() - 1));
        if (v.kind == Val::Kind::list) return refused("unsupported index type 'string' in list");
        return of(v.kind == Val::Kind::map && v.doc->get_object().contains(p.steps.back().field));
      }
    }
    return no_overload();
  }

  // A document of its own.
  Result<Value> document(const Val& v) {
    switch (v.kind) {
      case Val::Kind::null:
        return Value(nullptr);
      case Val::Kind::boolean:
        return Value(v.boolean);
      case Val::Kind::integer:
        return Value(v.integer);
      case Val::Kind::uinteger:
        return Value(v.uinteger);
      case Val::Kind::number:
        return Value(v.number);
      case Val::Kind::string:
        MR_CHECK(keeper_.pay(v.text.size()));
        return Value(v.text);
      case Val::Kind::list:
      case Val::Kind::map:
        MR_CHECK(keeper_.pay(weight(*v.doc)));
        return v.typed ? *v.doc : doubles(*v.doc);
    }
    return Value(nullptr);
  }

 private:
  // A part that is decided decides, even beside one that fails.
  Result<Val> logic(const Node& n) {
    const bool deciding = n.kind == Node::Kind::any;
    std::optional<Error> error;
    for (const auto& child : n.children) {
      auto v = eval(*child);
      if (v && v->kind != Val::Kind::boolean) v = no_overload();
      if (!v) {
        if (!error) error = std::move(v).error();
      } else if (v->boolean == deciding) {
        return of(deciding);
      }
    }
    if (error) return std::unexpected(std::move(*error));
    return of(!deciding);
  }

  Result<Val> list(const Node& n) {
    Array out;
    for (const auto& child : n.children) {
      MR_TRY(auto v, eval(*child));
      MR_TRY(auto d, document(v));
      MR_CHECK(keeper_.pay(sizeof(Value)));
      out.push_back(std::move(d));
    }
    return keeper_.keep(std::move(out), true);
  }
  Result<Val> map(const Node& n) {
    Object out;
    for (std::size_t i = 0; i + 1 < n.children.size(); i += 2) {
      MR_TRY(auto key, eval(*n.children[i]));
      if (key.kind != Val::Kind::string) return refused(fmt::format("unsupported key type: {}", kind_name(key)));
      MR_TRY(auto v, eval(*n.children[i + 1]));
      MR_TRY(auto d, document(v));
      MR_CHECK(keeper_.pay(sizeof(Value) + key.text.size()));
      if (!out.emplace(key.text, std::move(d)).second) return refused("Failed with repeated key");
    }
    return keeper_.keep(std::move(out), true);
  }

  Result<Val> path(const Node& n, std::size_t steps) {
    MR_TRY(auto v, eval(*n.children[0]));
    for (std::size_t i = 0; i < steps; ++i) {
      const auto& step = n.steps[i];
      if (step.kind == Step::Kind::field) {
        MR_TRY(v, field(v, step.field));
        continue;
      }
      Val argument;
      if (!step.arguments.empty()) {
        MR_TRY(argument, eval(*step.arguments[0]));
      }
      if (step.kind == Step::Kind::index) {
        MR_TRY(v, index(v, argument));
      } else {
        MR_TRY(v, call(step.method, v, argument, keeper_));
      }
    }
    return v;
  }
  Result<Val> field(const Val& v, std::string_view name) {
    if (v.kind == Val::Kind::list) return refused("unsupported index type 'string' in list");
    const auto* member = v.kind == Val::Kind::map ? v.doc->get_object().if_contains(name) : nullptr;
    if (member == nullptr) return refused(fmt::format("no such key: {}", name));
    // The one field that was an integer by declaration, in the parameters of old specs.
    return of(*member, v.typed || (name == "int_value" && member->is_int64()));
  }
  Result<Val> index(const Val& v, const Val& at) {
    if (v.kind == Val::Kind::map && at.kind == Val::Kind::string) return field(v, at.text);
    if (v.kind != Val::Kind::list) {  // what has no members lacks this one too
      const bool names = at.is_number() || at.kind == Val::Kind::boolean || at.kind == Val::Kind::string;
      return names ? refused(fmt::format("no such key: {}", written(at))) : no_overload();
    }
    if (!at.is_number()) return refused(fmt::format("unsupported index type '{}' in list", kind_name(at)));
    const auto& a = v.doc->get_array();
    if (at.kind == Val::Kind::number && std::trunc(at.number) != at.number)
      return refused(fmt::format("unsupported index value {} in list", written(at)));
    if (order(at, of(std::int64_t{0})) < 0 || !(order(at, of(std::uint64_t{a.size()})) < 0))
      return refused(fmt::format("index out of bounds: {}", written(at)));
    const auto i = at.kind == Val::Kind::integer    ? static_cast<std::size_t>(at.integer)
                   : at.kind == Val::Kind::uinteger ? static_cast<std::size_t>(at.uinteger)
                                                    : static_cast<std::size_t>(at.number);
    return of(a[i], v.typed);
  }

  Result<bool> equal(const Val& a, const Val& b) {
    if (a.is_number() && b.is_number()) return order(a, b) == 0;
    if (a.kind != b.kind) return false;
    switch (a.kind) {
      case Val::Kind::null:
        return true;
      case Val::Kind::boolean:
        return a.boolean == b.boolean;
      case Val::Kind::string:
        MR_CHECK(keeper_.pay(a.text.size() / 16));
        return a.text == b.text;
      case Val::Kind::list: {
        const auto& x = a.doc->get_array();
        const auto& y = b.doc->get_array();
        if (x.size() != y.size()) return false;
        for (std::size_t i = 0; i < x.size(); ++i) {
          MR_CHECK(keeper_.pay(sizeof(Value)));
          MR_TRY(const bool same, equal(of(x[i], a.typed), of(y[i], b.typed)));
          if (!same) return false;
        }
        return true;
      }
      default: {
        const auto& x = a.doc->get_object();
        const auto& y = b.doc->get_object();
        if (x.size() != y.size()) return false;
        for (const auto& [k, e] : x) {
          MR_CHECK(keeper_.pay(sizeof(Value)));
          const auto* other = y.if_contains(k);
          if (other == nullptr) return false;
          MR_TRY(const bool same, equal(of(e, a.typed), of(*other, b.typed)));
          if (!same) return false;
        }
        return true;
      }
    }
  }

  Result<Val> apply(Operator op, const Val& a, const Val& b) {
    switch (op) {
      case Operator::equal:
      case Operator::unequal: {
        MR_TRY(const bool same, equal(a, b));
        return of(same == (op == Operator::equal));
      }
      case Operator::less:
      case Operator::at_most:
      case Operator::greater:
      case Operator::at_least: {
        auto c = std::partial_ordering::unordered;
        if (a.is_number() && b.is_number())
          c = order(a, b);
        else if (a.kind == b.kind && a.kind == Val::Kind::string)
          c = a.text <=> b.text;
        else if (a.kind == b.kind && a.kind == Val::Kind::boolean)
          c = a.boolean <=> b.boolean;
        else
          return no_overload();
        return of(op == Operator::less      ? c < 0
                  : op == Operator::at_most ? c <= 0
                  : op == Operator::greater ? c > 0
                                            : c >= 0);
      }
      case Operator::in:
        return in(a, b);
      default:
        return arithmetic(op, a, b);
    }
  }
  Result<Val> in(const Val& a, const Val& b) {
    if (b.kind == Val::Kind::map) return of(a.kind == Val::Kind::string && b.doc->get_object().contains(a.text));
    if (b.kind != Val::Kind::list) return no_overload();
    for (const auto& e : b.doc->get_array()) {
      MR_CHECK(keeper_.pay(sizeof(Value)));
      MR_TRY(const bool same, equal(a, of(e, b.typed)));
      if (same) return of(true);
    }
    return of(false);
  }

  Result<Val> arithmetic(Operator op, const Val& a, const Val& b) {
    if (a.kind != b.kind) return no_overload();
    switch (a.kind) {
      case Val::Kind::integer:
        return whole<std::int64_t>(op, a.integer, b.integer, "integer overflow");
      case Val::Kind::uinteger:
        return whole<std::uint64_t>(op, a.uinteger, b.uinteger, "unsigned integer overflow");
      case Val::Kind::number:
        if (op == Operator::add) return of(a.number + b.number);
        if (op == Operator::subtract) return of(a.number - b.number);
        if (op == Operator::multiply) return of(a.number * b.number);
        if (op == Operator::divide) return of(a.number / b.number);
        return no_overload();
      case Val::Kind::string: {
        if (op != Operator::add) return no_overload();
        MR_CHECK(keeper_.pay(a.text.size() + b.text.size()));
        std::string joined(a.text);
        joined += b.text;
        return keeper_.keep(std::move(joined));
      }
      case Val::Kind::list: {
        if (op != Operator::add) return no_overload();
        MR_TRY(auto joined, document(a));
        MR_TRY(auto more, document(b));
        for (auto& e : more.get_array()) joined.get_array().push_back(std::move(e));
        return keeper_.keep(std::move(joined), true);
      }
      default:
        return no_overload();
    }
  }
  template <class Int>
  Result<Val> whole(Operator op, Int a, Int b, const char* overflow) {
    Int out{};
    bool over = false;
    if (op == Operator::add) {
      over = __builtin_add_overflow(a, b, &out);
    } else if (op == Operator::subtract) {
      over = __builtin_sub_overflow(a, b, &out);
    } else if (op == Operator::multiply) {
      over = __builtin_mul_overflow(a, b, &out);
    } else if (b == 0) {
      return refused(op == Operator::divide ? "division by zero" : "modulus by zero");
    } else if (std::is_signed_v<Int> && a == std::numeric_limits<Int>::min() && b == static_cast<Int>(-1)) {
      over = true;
    } else {
      out = op == Operator::divide ? a / b : a % b;
    }
    if (over) return refused(overflow);
    return of(out);
  }

  const Object& variables_;
  Keeper keeper_;
};

// Known to the environment of a selector or a condition although not set: reading it fails, naming it does not.
bool declared(std::string_view name, const Object& variables) {
  if (variables.contains("inputs")) return name == "outputs";
  for (std::string_view n : {"null_value", "number_value", "string_value", "bool_value", "struct_value", "list_value"})
    if (n == name) return variables.contains("string_value");
  return false;
}

}  // namespace

}  // namespace cel

Result<Value> Expression::evaluate(const Object& variables) const {
  for (const auto& name : root_->roots)
    if (!variables.contains(name) && !cel::declared(name, variables))
      return cel::refused(fmt::format("undeclared reference to '{}' (in container '')", name));
  cel::CelRun run(variables);
  MR_TRY(auto v, run.eval(*root_));
  MR_TRY(auto out, run.document(v));
  return normalize(std::move(out));
}

Result<bool> Expression::holds(const Object& variables) const {
  MR_TRY(auto v, evaluate(variables));
  if (v.is_bool()) return v.get_bool();
  std::string got = to_text(v);
  return cel::refused(fmt::format("return type is not bool, got {}{}", text::utf8_prefix(got, 64),
                                  text::utf8_length(got) > 64 ? "..." : ""));
}

Object condition_variables(const Object& parameter_values, const Object& artifacts) {
  Object old;
  for (const auto& [name, v] : parameter_values) {
    if (v.is_null()) continue;
    Value n = v.is_number() ? normalize(v) : Value(nullptr);
    if (n.is_int64())
      old[name] = Object{{"int_value", n}};
    else if (n.is_number())
      old[name] = Object{{"double_value", n}};
    else
      old[name] = Object{{"string_value", to_text(v)}};
  }
  // The fields of messages have the names that the descriptions give them; JSON has them in camelCase.
  auto snake = [](const Value& message, std::initializer_list<std::pair<std::string_view, std::string_view>> names) {
    Object out;
    for (const auto& [k, e] : message.get_object()) {
      std::string_view key = k;
      for (const auto& [camel, name] : names)
        if (key == camel) key = name;
      out[key] = e;
    }
    return out;
  };
  Object lists;
  for (const auto& [name, list] : artifacts) {
    Array out;
    if (const auto* entries = json::find(list, "artifacts"); entries != nullptr && entries->is_array()) {
      for (const auto& entry : entries->get_array()) {
        if (!entry.is_object()) continue;
        auto a = snake(entry, {{"customPath", "custom_path"}, {"artifactId", "artifact_id"}});
        if (auto* type = a.if_contains("type"); type != nullptr && type->is_object())
          *type = snake(*type, {{"schemaTitle", "schema_title"},
                                {"schemaVersion", "schema_version"},
                                {"instanceSchema", "instance_schema"}});
        out.emplace_back(std::move(a));
      }
    }
    lists[name] = Object{{"artifacts", std::move(out)}};
  }
  return {{"inputs", Object{{"parameter_values", parameter_values},
                            {"parameters", std::move(old)},
                            {"artifacts", std::move(lists)}}}};
}

Object selector_variables(const Value& value) {
  Object out{{"string_value", to_text(value)}};
  if (value.is_null())
    out["null_value"] = nullptr;
  else if (value.is_bool())
    out["bool_value"] = value;
  else if (value.is_number())
    out["number_value"] = value;
  else if (value.is_array())
    out["list_value"] = value;
  else if (value.is_object())
    out["struct_value"] = value;
  return out;
}

}  // namespace mr::pipelines
