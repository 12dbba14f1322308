#include "cli/settings_pipelines.h"

#include <CLI/CLI.hpp>

#include "cli/settings.h"

namespace mr::cli {

namespace {

void pipelines_server(CLI::App* c, Settings& s) {
  auto& p = s.pipelines;
  c->add_option("--pipelines-url,--server", p.server,
                "Address of the pipelines API (default: port 8888, moved by --port-offset, else as the kubeconfig of "
                "--data, KUBECONFIG or ~/.millrace tells)")
      ->type_name("URL");
  c->add_option("--port-offset", s.port_offset, "The offset that the platform was started with")
      ->check(CLI::Range(0, 50000));
  c->add_option("--data", s.data, "Folder of the platform to speak to")->type_name("DIR");
  c->add_option("-n,--namespace", p.ns, "Namespace to act in (default: the server's)")->type_name("NAME");
}

void form_of_output(CLI::App* c, Settings& s) {
  c->add_option("-o,--output", s.pipelines.output, "text for people, json for programs")
      ->check(CLI::IsMember({"text", "json"}));
}

}  // namespace

void add_pipeline_commands(CLI::App& app, Settings& s) {
  auto& p = s.pipelines;
  auto* run = app.add_subcommand("run", "Run a pipeline: a compiled package, or one that the server has");
  run->add_option("PIPELINE", p.args, "A package (.yaml, .json, .zip, .tar.gz), or NAME or NAME@VERSION of the server")
      ->type_name("")
      ->expected(0, 1);
  pipelines_server(run, s);
  run->add_option("-p,--param", p.parameters, "A parameter of the pipeline; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  run->add_option("--parameters-file", p.parameters_file, "A JSON or YAML object of parameters; -p wins over it")
      ->type_name("FILE");
  run->add_option("--name", p.name, "Name of the run (default: the pipeline's, and the time)");
  run->add_option("--experiment", p.experiment, "Experiment of the run, made when it is not there (default: Default)");
  run->add_flag("-w,--watch", p.watch, "Show its steps until it ends; the exit code is 0 only when it succeeds");
  run->add_flag("--no-cache", p.no_cache, "Every step runs, whatever ran before");
  run->add_option("--follow", p.follow, "Watch a run that was started before")->type_name("RUN_ID");
  run->add_option("--terminate", p.terminate, "End a run that is under way")->type_name("RUN_ID");
  run->footer(
      "Examples:\n  millrace run pipeline.yaml -p rows=1000 -p name=churn --watch\n"
      "  millrace run pipeline.yaml --parameters-file parameters.json --experiment nightly\n"
      "  millrace run churn-training@v2 --watch\n  millrace run --follow RUN_ID\n  millrace run --terminate RUN_ID\n"
      "Without --watch the run's id is printed as soon as it is accepted.");

  auto* pipeline = app.add_subcommand("pipeline", "List, show and check pipelines: list, show NAME|FILE, lint FILE");
  pipeline->add_option("ACTION", p.args, "list; show NAME, NAME@VERSION or FILE; lint FILE")->type_name("");
  pipelines_server(pipeline, s);
  form_of_output(pipeline, s);
  pipeline->add_option("--image", s.images, "For lint: as millrace up is told; may be repeated")
      ->type_name("NAME=RUNTIME")
      ->allow_extra_args(false);
  pipeline->add_option("--container-engine", s.container_engine, "For lint: as millrace up is told")
      ->check(CLI::IsMember({"auto", "podman", "docker", "none"}))
      ->capture_default_str();
  pipeline->footer(
      "Examples:\n  millrace pipeline list\n  millrace pipeline show pipeline.yaml\n"
      "  millrace pipeline show churn-training\n  millrace pipeline lint pipeline.yaml\n"
      "lint needs no server. Its exit code is 1 when the package would be refused, else 0.");

  auto* lineage = app.add_subcommand("lineage", "Where an artifact comes from: the step that made it, what that read");
  lineage
      ->add_option(
          "URI", p.args,
          "The artifact's URI, or the URI of a file in it, or its id; models:/NAME/VERSION, models:/NAME@ALIAS, "
          "models:/MODEL_ID or runs:/RUN_ID/PATH of the tracking server")
      ->type_name("")
      ->expected(0, 1);
  pipelines_server(lineage, s);
  form_of_output(lineage, s);
  lineage->footer(
      "Examples:\n  millrace lineage s3://mlpipeline/v2/artifacts/churn/RUN_ID/train/UUID/model\n"
      "  millrace lineage models:/churn@champion\n  millrace lineage 42 -o json\n"
      "The tracking server is MLFLOW_TRACKING_URI, else the one beside the pipelines API.");
}

}  // namespace mr::cli
