// `millrace pipeline list|show|lint`.
#include "cli/client_api.h"
#include "cli/client_print.h"
#include "cli/pipeline_commands.h"
#include "cli/pipeline_lint.h"
#include "cli/pipeline_tree.h"
#include "json/parse.h"
#include "node/container.h"
#include "node/images.h"
#include "node/registration.h"

namespace mr::cli {

namespace {

int list_pipelines(const Settings& s) {
  PipelinesApi api(s);
  std::string path = "/pipelines?sort_by=created_at%20desc";
  add_query(path, "namespace", s.pipelines.ns);
  auto all = api.list(path, "pipelines");
  if (!all) return complain(all.error());
  if (s.pipelines.output == "json") return put(json_text(boost::json::value(std::move(*all)))) ? 0 : 1;
  if (all->empty()) {
    fmt::print(stderr,
               "There are no pipelines on {}. A package is uploaded with kfp, and run as it is with millrace run.\n",
               api.url());
    return 0;
  }
  std::vector<std::vector<std::string>> rows{{"NAME", "PIPELINE ID", "CREATED", "DESCRIPTION"}};
  for (const auto& v : *all) {
    auto name = json::string_or_empty(v, "display_name");
    if (name.empty()) name = json::string_or_empty(v, "name");
    rows.push_back({one_line(name, 80), std::string(json::string_or_empty(v, "pipeline_id")),
                    std::string(json::string_or_empty(v, "created_at")),
                    one_line(json::string_or_empty(v, "description"), 60)});
  }
  std::vector<std::size_t> widths;
  return put(aligned(rows, widths)) ? 0 : 1;
}

int show_pipeline(const Settings& s, const std::string& what) {
  PipelinesApi api(s);
  auto loaded = load_pipeline(api, what, s.pipelines.ns);
  if (!loaded) return complain(loaded.error());
  if (s.pipelines.output == "json") return put(json_text(loaded->spec)) ? 0 : 1;
  std::string out;
  for (const auto& line : plan_lines(*loaded->plan)) out += line + "\n";
  return put(out) ? 0 : 1;
}

// What this machine has, and what it makes of images; the engine of containers is looked for only when one is needed.
MachineFacts machine_of(const Settings& s) {
  auto measured = node::measure(s.data);
  std::map<std::string, std::string> mapped;
  for (const auto& one : s.images)
    if (auto at = one.rfind('='); at != std::string::npos) mapped[one.substr(0, at)] = one.substr(at + 1);
  auto images = std::make_shared<node::Images>(std::move(mapped));
  auto engine = std::make_shared<std::optional<bool>>();
  auto judge = [images, engine, choice = s.container_engine](const std::string& image) -> ImageVerdict {
    auto found = images->resolve(image);
    if (found && found->kind != node::Image::Kind::container) return {true, found->note};
    auto why = found ? fmt::format("--image has \"{}\" run in a container, and no engine for that is here", image)
                     : found.error().message;
    if (!found && found.error().reason == "InvalidImageName") return {false, std::move(why)};
    if (!*engine) *engine = node::find_engine(choice).has_value();
    if (**engine) return {true, ""};
    return {false, std::move(why)};
  };
  return {std::move(judge), static_cast<std::int64_t>(measured.cpus) * 1000, measured.memory * 1000};
}

int lint_package(const Settings& s, const std::string& path) {
  std::vector<Finding> found;
  std::string head = path;
  auto spec = read_package(path);
  if (!spec && spec.error().code == Code::not_found) return complain(spec.error());
  if (!spec) {
    found.push_back({Finding::Level::error, "package", spec.error().message});
  } else if (auto plan = pipelines::compile(*spec); !plan) {
    for (const auto& e : pipelines::compile_errors(*spec)) {
      // The message begins with the field.
      const auto& m = e.message;
      auto at = m.find(": ");
      auto where = at == std::string::npos ? std::string("package") : m.substr(0, at);
      found.push_back({Finding::Level::error, where, at == std::string::npos ? m : m.substr(at + 2)});
    }
  } else {
    found = lint(**plan, *spec, machine_of(s));
    std::size_t tasks = 0;
    for (const auto& c : (*plan)->components) tasks += c.tasks.size();
    head += fmt::format(": {}, {} tasks, {} components", (*plan)->name, tasks, (*plan)->components.size() - 1);
  }
  std::size_t count[3] = {};
  for (const auto& f : found) ++count[static_cast<std::size_t>(f.level)];
  std::string out;
  if (s.pipelines.output == "json") {
    boost::json::array list;
    for (const auto& f : found)
      list.push_back(boost::json::object{{"level", level_name(f.level)}, {"where", f.where}, {"what", f.what}});
    out = json_text(boost::json::value(std::move(list)));
  } else {
    out = head + "\n";
    for (const auto& f : found)
      out += fmt::format("  {:<7}  {}\n           {}\n", level_name(f.level), one_line(f.where, 300),
                         one_line(f.what, 2000));
    auto some = [](std::size_t n, std::string_view word) { return fmt::format("{} {}{}", n, word, n == 1 ? "" : "s"); };
    out += found.empty() ? "nothing to say against it\n"
                         : fmt::format("{}, {}, {}\n", some(count[0], "error"), some(count[1], "warning"),
                                       some(count[2], "note"));
  }
  if (!put(out)) return 1;
  return count[0] == 0 ? 0 : 1;
}

}  // namespace

int pipeline_command(const Settings& s) {
  const auto& args = s.pipelines.args;
  auto wrong = [](std::string text) { return complain({Code::invalid_argument, std::move(text), {}, {}}); };
  if (args.empty()) return wrong("say what to do: list, show NAME|FILE or lint FILE (millrace pipeline --help)");
  const auto& action = args[0];
  if (action == "list" && args.size() == 1) return list_pipelines(s);
  if (action == "list") return wrong("list takes no further words");
  if (action != "show" && action != "lint")
    return wrong(fmt::format("pipeline {}: list, show and lint are known (millrace pipeline --help)", action));
  if (args.size() != 2)
    return wrong(
        fmt::format("pipeline {}: name one {}", action, action == "show" ? "pipeline or package" : "package file"));
  return action == "show" ? show_pipeline(s, args[1]) : lint_package(s, args[1]);
}

}  // namespace mr::cli
