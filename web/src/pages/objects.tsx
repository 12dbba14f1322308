// The object store: buckets, folders, files.
import { useRef, useState } from "preact/hooks";
import { errorText, objectUrl, request } from "../api";
import { useData } from "../data";
import { bytes, time } from "../format";
import { place, setQuery, to } from "../router";
import { buckets, listing, type S3Object } from "../s3";
import { Icon } from "../ui/icons";
import { Button, Card, Confirm, Copy, Dialog, Empty, Facts, Head, Table, Trouble, Waiting, When, useTitle } from "../ui/parts";
import { Preview } from "../ui/text";

function Make({ close, done }: { close: () => void; done: () => void }) {
  const [name, set] = useState("");
  const [error, fail] = useState<Error>();
  return (
    <Dialog title="New bucket" close={close}>
      <form
        class="form"
        onSubmit={(e) => {
          e.preventDefault();
          request(objectUrl(name), { method: "PUT" }).then(() => (done(), close()), fail);
        }}
      >
        <label class="field">
          <span>Name</span>
          <input type="text" required pattern="[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]" value={name} onInput={(e) => set(e.currentTarget.value)} />
          <small>3 to 63 lower-case letters, digits, dots and hyphens</small>
        </label>
        {error && <Trouble error={error} />}
        <div class="dialog-foot">
          <Button onClick={close}>Cancel</Button>
          <Button kind="main" type="submit">
            Create
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function Buckets() {
  useTitle("Objects");
  const [making, make] = useState(false);
  const d = useData(async (signal) => buckets(await (await request("/dashboard/s3/", { signal })).text()), []);
  return (
    <>
      <Head title="Objects" sub="Buckets of the S3 store: the files of runs, models and pipelines.">
        <Button icon="plus" onClick={() => make(true)}>
          New bucket
        </Button>
      </Head>
      {!d.data ? (
        <Waiting of={d} />
      ) : (
        <Table
          of="Buckets"
          rows={d.data}
          href={(b) => to("objects", b.name)}
          columns={[
            { head: "Bucket", cell: (b) => b.name },
            { head: "Made", cell: (b) => <When at={time(b.made)} /> },
          ]}
        />
      )}
      {making && <Make close={() => make(false)} done={d.reload} />}
    </>
  );
}

interface Sending {
  name: string;
  sent: number;
  size: number;
  error?: string;
}

export default function Objects({ bucket, path }: Record<string, string>) {
  return bucket ? <Bucket bucket={bucket} prefix={path ? path.replace(/\/*$/, "/") : ""} /> : <Buckets />;
}

function Bucket({ bucket, prefix }: { bucket: string; prefix: string }) {
  useTitle(bucket);
  const token = place.value.query.get("page") ?? "";
  const chosen = place.value.query.get("file") ?? "";
  const d = useData(
    async (signal) => listing(await (await request(objectUrl(bucket, "", { "list-type": 2, delimiter: "/", prefix, "max-keys": 500, "continuation-token": token }), { signal })).text()),
    [bucket, prefix, token],
  );
  const [sending, send] = useState<Sending[]>([]);
  const [asked, ask] = useState<S3Object>();
  const [over, drag] = useState(false);
  const input = useRef<HTMLInputElement>(null);

  // XMLHttpRequest, because fetch does not tell how much has gone out.
  const upload = (files: File[]) => {
    for (const f of files) {
      const at: Sending = { name: f.name, sent: 0, size: f.size };
      send((s) => [...s.filter((x) => x.sent < x.size || x.error), at]);
      const x = new XMLHttpRequest();
      const tell = (part: Partial<Sending>) => send((s) => s.map((y) => (y.name === f.name ? { ...y, ...part } : y)));
      x.upload.onprogress = (e) => tell({ sent: e.loaded });
      x.onload = () => {
        if (x.status < 300) {
          send((s) => s.filter((y) => y.name !== f.name));
          d.reload();
        } else tell({ error: errorText(x.status, x.responseText) });
      };
      x.onerror = () => tell({ error: "The server does not answer." });
      x.open("PUT", objectUrl(bucket, prefix + f.name));
      if (f.type) x.setRequestHeader("Content-Type", f.type);
      x.send(f);
    }
  };
  const parts = prefix.split("/").filter(Boolean);
  const crumbs: [string, string][] = [["Objects", "/objects"], ...(parts.length ? ([[bucket, to("objects", bucket)]] as [string, string][]) : []), ...parts.slice(0, -1).map((p, i): [string, string] => [p, to("objects", bucket, ...parts.slice(0, i + 1))])];
  const name = parts[parts.length - 1] ?? bucket;
  const file = d.data?.objects.find((o) => o.key === chosen);
  type Row = { folder: string } | { object: S3Object };
  const rows: Row[] = [...(d.data?.folders ?? []).map((folder) => ({ folder })), ...(d.data?.objects ?? []).filter((o) => o.key !== prefix).map((object) => ({ object }))];
  return (
    <div
      class={over ? "drop over" : "drop"}
      onDragOver={(e) => (e.preventDefault(), drag(true))}
      onDragLeave={() => drag(false)}
      onDrop={(e) => {
        e.preventDefault();
        drag(false);
        upload([...(e.dataTransfer?.files ?? [])]);
      }}
    >
      <Head title={name} crumbs={crumbs} sub={<span>{`s3://${bucket}/${prefix}`} <Copy text={`s3://${bucket}/${prefix}`} what="Copy the URI" /></span>}>
        <input ref={input} type="file" multiple hidden onChange={(e) => upload([...(e.currentTarget.files ?? [])])} />
        <Button kind="main" icon="upload" onClick={() => input.current?.click()}>
          Upload files
        </Button>
      </Head>
      {sending.map((s) => (
        <div class="note row" role="status">
          <span class="grow">{s.name}</span>
          {s.error ? <span class="bad-text">{s.error}</span> : <progress max={s.size || 1} value={s.sent} aria-label={`Upload of ${s.name}`} />}
        </div>
      ))}
      {!d.data ? (
        <Waiting of={d} lines={6} />
      ) : rows.length === 0 ? (
        <div class="card">
          <Empty icon="objects" title="It is empty" code={`aws s3 cp FILE s3://${bucket}/${prefix} --endpoint-url http://127.0.0.1:9000`}>
            Drop files here, or copy some with any S3 client:
          </Empty>
        </div>
      ) : (
        <div class={file ? "split" : ""}>
          <Table
            of="Files"
            rows={rows}
            columns={[
              {
                head: "Name",
                cell: (r) =>
                  "folder" in r ? (
                    <a class="row-link" href={to("objects", bucket, ...r.folder.split("/").filter(Boolean))}>
                      <Icon name="folder" size={16} /> {r.folder.slice(prefix.length)}
                    </a>
                  ) : (
                    <button type="button" class="inline row-link" onClick={() => setQuery({ file: r.object.key })}>
                      <Icon name="file" size={16} /> {r.object.key.slice(prefix.length)}
                    </button>
                  ),
              },
              { head: "Size", cell: (r) => ("object" in r ? bytes(r.object.size) : ""), right: true, class: "nowrap" },
              { head: "Changed", cell: (r) => ("object" in r ? <When at={time(r.object.changed)} /> : ""), class: "nowrap" },
            ]}
          />
          {file && (
            <Card
              title={file.key.split("/").pop()}
              more={
                <span class="row">
                  <a class="button" href={objectUrl(bucket, file.key)} download={file.key.split("/").pop()}>
                    <Icon name="download" size={15} /> Download
                  </a>
                  <Button kind="danger" icon="trash" aria-label="Delete this file" onClick={() => ask(file)} />
                </span>
              }
            >
              <Facts
                of={[
                  ["Size", bytes(file.size)],
                  ["Key", file.key],
                ]}
              />
              <div class="gap" />
              <Preview key={file.key} url={objectUrl(bucket, file.key)} name={file.key} />
            </Card>
          )}
        </div>
      )}
      {d.data?.next && (
        <div class="pager">
          <Button onClick={() => setQuery({ page: d.data!.next }, false)}>More</Button>
        </div>
      )}
      {asked && (
        <Confirm title="Delete the file?" text={`${asked.key} is gone for good.`} yes="Delete" close={() => ask(undefined)} act={() => request(objectUrl(bucket, asked.key), { method: "DELETE" }).then(() => (setQuery({ file: undefined }), d.reload()))} />
      )}
    </div>
  );
}
