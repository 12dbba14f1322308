// One object of the Kubernetes API.
import { useState } from "preact/hooks";
import { kube, kubeText } from "../api";
import { useData } from "../data";
import { moment, time } from "../format";
import { inside, kinds, rootOf, type Condition, type KObject } from "../kube";
import { go, to } from "../router";
import { Editor } from "../ui/editor";
import { Button, Card, Confirm, Facts, Head, Long, Status, Table, Tabs, Waiting, When, useTitle } from "../ui/parts";
import { Log } from "../ui/text";
import { Events } from "./endpoint";

interface Container {
  name: string;
  image?: string;
}

export default function Resource({ group, version, plural, ns, name }: Record<string, string>) {
  const space = ns === "-" ? undefined : ns;
  const path = inside(rootOf(group!, version!), space, plural!, name);
  const d = useData((signal) => kube<KObject>(path, {}, { signal }), [path], [`kube:${group === "core" ? "" : group}/${version}/${plural}`]);
  const all = useData((signal) => kinds(signal), []);
  const [asked, ask] = useState(false);
  const [container, pick] = useState("");
  useTitle(name!);
  const list = to("resources", group!, version!, plural!);
  const crumbs: [string, string][] = [
    ["Resources", "/resources"],
    [d.data?.kind ?? plural!, list],
  ];
  if (!d.data)
    return (
      <>
        <Head title={name} crumbs={crumbs} />
        <Waiting of={d} lines={6} />
      </>
    );
  const o = d.data;
  const pod = group === "core" && plural === "pods";
  const containers = pod ? ([...((o.spec?.initContainers as Container[]) ?? []), ...((o.spec?.containers as Container[]) ?? [])] as Container[]) : [];
  const main = (o.spec?.containers as Container[] | undefined)?.[0]?.name ?? "";
  const c = containers.some((x) => x.name === container) ? container : main;
  const conditions = (o.status?.conditions as Condition[] | undefined) ?? [];
  const phase = (o.status?.phase as string | undefined) ?? "";
  const tabs: [string, string][] = [["overview", "Overview"], ...((pod ? [["logs", "Logs"]] : []) as [string, string][]), ["yaml", "YAML"], ["events", "Events"]];
  const owner = (kindName: string, apiVersion: string) => {
    const [g, v] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    const k = all.data?.find((x) => x.kind === kindName && x.group === g);
    return k ? (n: string) => to("resources", g || "core", v!, k.plural, k.namespaced ? space! : "-", n) : undefined;
  };
  return (
    <>
      <Head title={name} crumbs={crumbs} sub={<><span>{o.kind}</span>{space && <span>{space}</span>}{phase && <Status state={phase} />}</>}>
        <Button kind="danger" icon="trash" onClick={() => ask(true)}>
          Delete
        </Button>
      </Head>
      <Tabs of={tabs}>
        {(tab) =>
          tab === "yaml" ? (
            <Editor path={path} done={d.reload} />
          ) : tab === "events" ? (
            <Events ns={space} of={(e) => e.involvedObject?.name === name && e.involvedObject?.kind === o.kind} />
          ) : tab === "logs" ? (
            <div class="stack">
              <div class="toolbar">
                <select aria-label="Container" value={c} onChange={(e) => pick(e.currentTarget.value)}>
                  {containers.map((x) => (
                    <option>{x.name}</option>
                  ))}
                </select>
              </div>
              <Log url={`/dashboard/kube${path}/log?follow=true&tailLines=2000&container=${encodeURIComponent(c)}`} />
            </div>
          ) : (
            <div class="two">
              <Card title="Object">
                <Facts
                  of={[
                    ["Kind", `${o.kind} (${o.apiVersion})`],
                    ["Namespace", space ?? "of the cluster"],
                    ["Made", moment(time(o.metadata.creationTimestamp))],
                    ["Uid", <code>{o.metadata.uid}</code>],
                    [
                      "Owned by",
                      o.metadata.ownerReferences?.map((r) => {
                        const link = owner(r.kind, r.apiVersion);
                        return link ? <a href={link(r.name)}>{`${r.kind} ${r.name}`}</a> : <span>{`${r.kind} ${r.name}`}</span>;
                      }),
                    ],
                    ...containers.map((x): [string, string] => [x.name, x.image ?? ""]),
                  ]}
                />
              </Card>
              <Card title="Labels and annotations">
                <Facts of={[...Object.entries(o.metadata.labels ?? {}), ...Object.entries(o.metadata.annotations ?? {})].map(([k, v]) => [k, <Long text={v} />])} />
                {!o.metadata.labels && !o.metadata.annotations && <p class="dim">None.</p>}
              </Card>
              {conditions.length > 0 && (
                <Card title="Conditions" class="span">
                  <Table
                    of="Conditions"
                    rows={conditions}
                    columns={[
                      { head: "Condition", cell: (x) => <strong>{x.type}</strong> },
                      { head: "State", cell: (x) => <Status state={x.status} text={x.status} /> },
                      { head: "Reason", cell: (x) => x.reason },
                      { head: "Message", cell: (x) => x.message },
                      { head: "Since", cell: (x) => <When at={time(x.lastTransitionTime)} /> },
                    ]}
                  />
                </Card>
              )}
            </div>
          )
        }
      </Tabs>
      {asked && <Confirm title={`Delete ${o.kind} ${name}?`} text="What it owns goes with it." yes="Delete" close={() => ask(false)} act={() => kubeText(path, {}, { method: "DELETE" }).then(() => go(list))} />}
    </>
  );
}
