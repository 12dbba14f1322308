// Plans as trees: what each task is, when it runs, where its inputs come from, what it gives.
#include "cli/pipeline_tree.h"
#include "json/parse.h"

namespace mr::cli {

namespace {

using pipelines::Component;
using pipelines::ComponentKind;
using pipelines::Plan;
using pipelines::Source;
using pipelines::Task;

std::string kind_of_parameter(const pipelines::InputParameter& p) {
  std::string out(pipelines::type_name(p.type));
  if (p.fallback)
    out += " = " + one_line(json::serialize(*p.fallback), 60);
  else
    out += p.optional ? "?" : "";
  if (!p.literals.empty()) {
    std::string all;
    for (const auto& l : p.literals) all += (all.empty() ? "" : ", ") + json::serialize(l);
    out += " of " + one_line(all, 60);
  }
  return out;
}

std::string title_of(const pipelines::ArtifactType& t) { return t.title.empty() ? "an artifact" : t.title; }

std::string source_text(const Source& s, const std::vector<Task>& tasks) {
  std::string out;
  switch (s.kind) {
    case Source::Kind::constant:
      out = one_line(json::serialize(s.constant), 60);
      break;
    case Source::Kind::scope_input:
      out = "input " + s.input;
      break;
    case Source::Kind::task_output:
      out = fmt::format("{} of {}", s.output, tasks[s.task].key);
      break;
    case Source::Kind::final_status:
      out = fmt::format("the final status of {}", tasks[s.task].key);
      break;
  }
  if (s.selector) out += fmt::format(", {}", one_line(s.selector->text(), 60));
  return out;
}

void add_plan_members(const Plan& plan, const Component& c, std::vector<Branch>& out, std::size_t& left);

Branch plan_branch(const Plan& plan, const Task& t, const std::vector<Task>& tasks, std::size_t& left) {
  const auto& c = plan.components[t.component];
  Branch b;
  b.text = one_line(t.key, 80);
  if (!t.display_name.empty() && t.display_name != t.key)
    b.text += fmt::format(" \"{}\"", one_line(t.display_name, 60));
  if (c.kind == ComponentKind::container)
    b.text += "  " + one_line(c.container.image, 80);
  else if (c.kind == ComponentKind::importer)
    b.text += fmt::format("  imports {}",
                          c.importer.uri.empty() ? "the URI of " + c.importer.uri_input : one_line(c.importer.uri, 80));
  else
    b.text += fmt::format("  {}", c.name);
  auto note = [&](std::string_view word, const std::string& what) {
    b.notes.push_back(fmt::format("{:<6} {}", word, what));
  };
  if (t.condition) note("if", one_line(t.condition->text(), 160));
  if (t.iterator) {
    const auto& it = *t.iterator;
    std::string items;
    if (it.raw) {
      items = fmt::format("{} ({})", one_line(json::serialize(boost::json::value(*it.raw)), 80), it.raw->size());
    } else {
      const auto& given = it.over_artifacts ? t.artifacts : t.parameters;
      auto s = given.find(it.items_input);
      items = s == given.end() ? it.items_input : source_text(s->second, tasks);
    }
    auto limit = it.parallelism > 0 ? fmt::format(", at most {} at once", it.parallelism) : std::string();
    note("each", fmt::format("{} in {}{}", it.item_input, items, limit));
  }
  std::set<std::size_t> by_data;
  for (const auto* given : {&t.parameters, &t.artifacts})
    for (const auto& [_, s] : *given)
      if (s.kind == Source::Kind::task_output || s.kind == Source::Kind::final_status) by_data.insert(s.task);
  std::string after;
  for (auto u : t.upstream)
    if (!by_data.contains(u)) after += (after.empty() ? "" : ", ") + tasks[u].key;
  if (!after.empty()) note("after", after);
  if (t.run_always) note("always", "also when what it waits for failed");
  if (t.retry && t.retry->max_retries > 0)
    note("retry", fmt::format("up to {} times, first after {} s", t.retry->max_retries, t.retry->backoff_s));
  for (const auto* given : {&t.parameters, &t.artifacts})
    for (const auto& [name, s] : *given)
      if (!t.iterator || name != t.iterator->items_input)
        note("in", fmt::format("{} = {}", name, source_text(s, tasks)));
  for (const auto& [name, type] : c.output_parameters)
    note("out", fmt::format("{}: {}", name, pipelines::type_name(type)));
  for (const auto& [name, a] : c.output_artifacts)
    note("out", fmt::format("{}: {}{}", name, title_of(a.type), a.list ? " (list)" : ""));
  const auto& k = c.container;
  std::string resources;
  for (const auto& [word, text] : {std::pair{"cpu", &k.cpu_limit}, {"memory", &k.memory_limit}})
    if (!text->empty()) resources += fmt::format("{}{} {}", resources.empty() ? "" : ", ", word, *text);
  if (!k.accelerator_type.empty())
    resources += fmt::format("{}{} {}", resources.empty() ? "" : ", ", k.accelerator_count, k.accelerator_type);
  if (!resources.empty()) note("limit", resources);
  if (!c.kubernetes.empty()) {
    std::string names;
    for (const auto& m : c.kubernetes) names += (names.empty() ? "" : ", ") + std::string(m.key());
    note("pod", names);
  }
  if (c.kind == ComponentKind::container && !t.cache) note("cache", "off");
  add_plan_members(plan, c, b.children, left);
  return b;
}

void add_plan_members(const Plan& plan, const Component& c, std::vector<Branch>& out, std::size_t& left) {
  for (auto i : c.order) {
    if (left == 0) {
      out.push_back({"…", {}, {}});
      return;
    }
    --left;
    out.push_back(plan_branch(plan, c.tasks[i], c.tasks, left));
  }
}

}  // namespace

std::vector<std::string> plan_lines(const Plan& plan) {
  std::vector<std::string> out;
  auto head = one_line(plan.name, 120);
  if (!plan.display_name.empty() && plan.display_name != plan.name)
    head += fmt::format(" \"{}\"", one_line(plan.display_name, 80));
  std::string made;
  for (const auto& text :
       {plan.schema_version.empty() ? std::string() : "schema " + plan.schema_version, plan.sdk_version})
    if (!text.empty()) made += (made.empty() ? "" : ", ") + one_line(text, 40);
  if (!made.empty()) head += fmt::format("  ({})", made);
  out.push_back(std::move(head));
  if (!plan.description.empty()) out.push_back("  " + one_line(plan.description, 300));
  const auto& root = plan.root_component();
  if (!root.input_parameters.empty() || !root.input_artifacts.empty()) out.emplace_back("inputs");
  for (const auto& [name, in] : root.input_parameters)
    out.push_back(
        fmt::format("  {}: {}{}", name, kind_of_parameter(in), in.fallback || in.optional ? "" : "  (required)"));
  for (const auto& [name, in] : root.input_artifacts)
    out.push_back(fmt::format("  {}: {}{}", name, title_of(in.type), in.optional ? "?" : "  (required)"));
  out.emplace_back("tasks");
  std::vector<Branch> top;
  std::size_t left = 10'000;
  add_plan_members(plan, root, top, left);
  for (auto& line : branch_lines(top, true)) out.push_back(std::move(line));
  if (!root.dag_parameters.empty() || !root.dag_artifacts.empty()) out.emplace_back("outputs");
  for (const auto* outputs : {&root.dag_parameters, &root.dag_artifacts})
    for (const auto& [name, source] : *outputs) {
      std::string from;
      for (const auto& one : source.from)
        from += fmt::format("{}{} of {}", from.empty() ? "" : ", or ", one.output, root.tasks[one.task].key);
      out.push_back(fmt::format("  {}: {}", name, from));
    }
  return out;
}

}  // namespace mr::cli
