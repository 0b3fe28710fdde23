// The README's session, through a client whose types are generated from the OpenAPI document.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };

type Spec = components["schemas"]["DeploymentRequest"];
type Status = components["schemas"]["DeploymentStatus"];

const [url = "", username = ""] = process.argv.slice(2);
const password = "correct horse battery";
const api = createClient<paths>({ baseUrl: url });

function present<T>(answer: { data?: T; error?: unknown }): T {
    if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
    return answer.data;
}

async function submit(spec: Spec): Promise<components["schemas"]["Deployment"]> {
    const created = present(await api.POST("/deployments", { body: spec }));
    if (!("id" in created)) throw new Error("This is the answer to a dry run.");
    return created;
}

async function until(id: number, status: Status): Promise<void> {
    for (const end = Date.now() + 60_000; ; ) {
        const { status: now } = present(await api.GET("/deployments/{id}", { params: { path: { id } } }));
        if (now === status) return;
        if (Date.now() > end) throw new Error(`Deployment ${id} is ${now}, not ${status}.`);
        await new Promise<void>((resolve) => setTimeout(resolve, 200));
    }
}

present(await api.POST("/register", { body: { username, password } }));
const tokens = present(await api.POST("/token", { body: { username, password } }));
api.use({
    onRequest({ request }) {
        request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
        return request;
    },
});
present(await api.POST("/organizations", { body: { name: "Analytical Engines" } }));
present(await api.POST("/clusters", { body: { name: "rack-1", cpu: 8, ram_mib: "32Gi", gpu: 1 } }));

const base: Spec = { name: "training", image: "ml/train:1", cpu: 4, ram_mib: "16Gi", gpu: 1, priority: 20 };
const training = await submit(base);
await until(training.id, "running");

const urgent: Spec = { ...base, name: "fraud-check", cpu: 2, ram_mib: "8Gi", priority: 90 };
const dryRun = present(
    await api.POST("/deployments", { params: { query: { dry_run: true } }, body: urgent }),
);
if (!("outcome" in dryRun) || dryRun.outcome !== "preempt") throw new Error(JSON.stringify(dryRun));

await until((await submit(urgent)).id, "running");
const params = { path: { id: training.id } };
const { position, clusters } = present(await api.GET("/deployments/{id}/explain", { params }));
if (position !== 1 || clusters[0]?.missing.gpu !== 1) throw new Error(JSON.stringify(clusters));

const before = present(await api.GET("/deployments/{id}", { params }));
const after = present(await api.PATCH("/deployments/{id}", { params, body: { name: "renamed" } }));
const changed = Object.entries(after).filter(
    ([field, value]) => JSON.stringify(value) !== JSON.stringify(before[field as keyof typeof before]),
);
console.log(JSON.stringify(Object.fromEntries(changed)));
