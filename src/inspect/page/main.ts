/** The inspector's page: reads what the server tells, keeps it, draws it. It never says anything back. */
import { ActorsView } from './actors-view.ts'
import { ChartView } from './chart-view.ts'
import type { Charts } from './charts.ts'
import charts from './charts.generated.json' with { type: 'json' }
import { byId } from './dom.ts'
import { HeadView } from './head-view.ts'
import { LanesView } from './lanes-view.ts'
import { LogView } from './log-view.ts'
import { MetersView } from './meters-view.ts'
import { OutcomeView } from './outcome-view.ts'
import { Recording } from './recording.ts'
import { RegionsView } from './regions-view.ts'
import { StateView } from './state-view.ts'
import { theme } from './theme.ts'
import { TravelView } from './travel-view.ts'
import { View } from './view.ts'
import { listen } from './wire.ts'

/** Time goes on in the lanes between messages, if nobody minds what moves. */
const tickMs = matchMedia('(prefers-reduced-motion: reduce)').matches ? 1_000 : 200

const drawn = charts as unknown as Charts
const view = new View(new Recording())
const lanes = new LanesView(view)
for (const part of [
  new HeadView(view),
  lanes,
  new MetersView(view),
  new ActorsView(view),
  new ChartView(view, drawn),
  new StateView(view, drawn),
  new RegionsView(view),
  new LogView(view),
  new TravelView(view),
  new OutcomeView(view),
]) {
  view.add(part)
}
theme(() => lanes.repaint())
byId('help-open').addEventListener('click', () => byId<HTMLDialogElement>('help').showModal())
void listen(view)
setInterval(() => {
  const isLive =
    view.held === undefined && view.connection === 'open' && view.recording.now.outcome === undefined
  if (isLive && !document.hidden) view.changed('data')
}, tickMs)
view.changed('data')
