// A pipeline that was uploaded: its versions, what it does, what it takes.
import { useState } from "preact/hooks";
import { kfp } from "../api";
import { useData } from "../data";
import { time } from "../format";
import { fields, specOf } from "../graph";
import { go, place, setQuery, to } from "../router";
import { RunGraph } from "../ui/graph";
import { Upload, versionsOf } from "../ui/submit";
import { Button, Card, Confirm, Head, Table, Tabs, Waiting, When, useTitle } from "../ui/parts";
import { Block } from "../ui/text";
import type { Pipeline } from "./pipelines";

export default function Definition({ id }: Record<string, string>) {
  const p = useData((signal) => kfp<Pipeline>(`/pipelines/${encodeURIComponent(id!)}`, {}, { signal }), [id]);
  const versions = useData((signal) => versionsOf(id!, signal), [id]);
  const [asked, ask] = useState("");
  useTitle(p.data?.display_name ?? "Pipeline");
  const list = versions.data?.pipeline_versions ?? [];
  const v = list.find((x) => x.pipeline_version_id === place.value.query.get("version")) ?? list[0];
  const spec = specOf(v?.pipeline_spec);
  const crumbs: [string, string][] = [["Pipelines", "/pipelines"], ["Definitions", "/pipelines?tab=definitions"]];
  if (!p.data)
    return (
      <>
        <Head title="Pipeline" crumbs={crumbs} />
        <Waiting of={p} />
      </>
    );
  const takes = fields(spec);
  return (
    <>
      <Head title={p.data.display_name} crumbs={crumbs} sub={p.data.description || spec.pipelineInfo?.description}>
        <select aria-label="Version" value={v?.pipeline_version_id} onChange={(e) => setQuery({ version: e.currentTarget.value })}>
          {list.map((x) => (
            <option value={x.pipeline_version_id}>{x.display_name}</option>
          ))}
        </select>
        <Button icon="upload" onClick={() => ask("version")}>
          New version
        </Button>
        <Button kind="main" icon="play" onClick={() => go(`/pipelines?new=run&pipeline=${encodeURIComponent(id!)}`)}>
          Run
        </Button>
        <Button kind="danger" icon="trash" aria-label="Delete this pipeline" onClick={() => ask("delete")} />
      </Head>
      <Tabs
        of={[
          ["graph", "Graph"],
          ["takes", "Parameters"],
          ["versions", "Versions"],
          ["spec", "Specification"],
        ]}
      >
        {(tab) =>
          !versions.data ? (
            <Waiting of={versions} />
          ) : tab === "takes" ? (
            takes.length ? (
              <Table
                of="Parameters"
                rows={takes}
                columns={[
                  { head: "Name", cell: (f) => <strong>{f.name}</strong> },
                  { head: "Type", cell: (f) => f.type.toLowerCase().replace("_", " ") },
                  { head: "Default", cell: (f) => (f.text ? <code>{f.text}</code> : f.optional ? "may be left out" : "must be given") },
                  { head: "", cell: (f) => f.description },
                ]}
              />
            ) : (
              <p class="note">It takes no parameters.</p>
            )
          ) : tab === "versions" ? (
            <Table
              of="Versions"
              rows={list}
              href={(x) => `${to("pipelines", "definitions", id!)}?version=${encodeURIComponent(x.pipeline_version_id)}`}
              columns={[
                { head: "Version", cell: (x) => x.display_name },
                { head: "Description", cell: (x) => x.description ?? "" },
                { head: "Uploaded", cell: (x) => <When at={time(x.created_at)} /> },
              ]}
            />
          ) : tab === "spec" ? (
            <Card>
              <Block label="Specification">{JSON.stringify(v?.pipeline_spec ?? {}, null, 2)}</Block>
            </Card>
          ) : (
            <RunGraph spec={spec} tasks={[]} choose={() => undefined} />
          )
        }
      </Tabs>
      {asked === "version" && <Upload pipeline={id} close={() => ask("")} done={() => (ask(""), versions.reload())} />}
      {asked === "delete" && (
        <Confirm
          title="Delete the pipeline?"
          text={`${p.data.display_name} goes with all its versions. Runs stay.`}
          yes="Delete"
          close={() => ask("")}
          act={() => kfp(`/pipelines/${encodeURIComponent(id!)}`, { cascade: true }, { method: "DELETE" }).then(() => go("/pipelines?tab=definitions"))}
        />
      )}
    </>
  );
}
